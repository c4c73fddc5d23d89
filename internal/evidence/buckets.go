package evidence

import "time"

// buckets divide the period for charts: days up to a quarter, then weeks.
type buckets struct {
	from time.Time
	days int // in one bucket
	n    int
}

func newBuckets(from, to time.Time) buckets {
	days := int(to.Sub(from) / (24 * time.Hour))
	b := buckets{from: from, days: 1}
	switch {
	case days > 370:
		b.days = 28
	case days > 45:
		b.days = 7
	}
	b.n = (days + b.days - 1) / b.days
	return b
}

func (b buckets) of(t time.Time) int {
	return min(max(int(t.Sub(b.from)/(24*time.Hour))/b.days, 0), b.n-1)
}

func (b buckets) start(i int) time.Time { return b.from.AddDate(0, 0, i*b.days) }

func (b buckets) unit() string {
	switch b.days {
	case 1:
		return "day"
	case 7:
		return "week"
	}
	return "four weeks"
}
