package store

import "time"

// LogRow is one System Log event in the order it was persisted.
type LogRow struct {
	Seq       int64 // strictly increasing, never reused
	Published time.Time
	EventType string
	Event     []byte // the LogEvent as JSON
}

// AddLog appends an event.
func (t *Tx) AddLog(published time.Time, eventType string, event []byte) error {
	return t.exec(`INSERT INTO logs (published, event_type, event) VALUES (?,?,?)`, millis(published), eventType, string(event))
}

func scanLog(s scanner) (LogRow, error) {
	var r LogRow
	var published int64
	var event string
	err := s.Scan(&r.Seq, &published, &r.EventType, &event)
	r.Published, r.Event = fromMillis(published), []byte(event)
	return r, err
}

// LogQuery selects events. Zero fields do not limit.
type LogQuery struct {
	After        int64 // seq; for Descending, events before it
	Since, Until time.Time
	Descending   bool
	Limit        int
}

// Logs lists events in persistence order, or in reverse when Descending.
func (t *Tx) Logs(q LogQuery) ([]LogRow, error) {
	until := int64(1) << 62
	if !q.Until.IsZero() {
		until = millis(q.Until)
	}
	if q.Descending {
		before := q.After
		if before == 0 {
			before = int64(1) << 62
		}
		return many(t, scanLog, `SELECT seq, published, event_type, event FROM logs WHERE seq < ? AND published >= ? AND published < ? ORDER BY seq DESC LIMIT ?`,
			before, millis(q.Since), until, q.Limit)
	}
	return many(t, scanLog, `SELECT seq, published, event_type, event FROM logs WHERE seq > ? AND published >= ? AND published < ? ORDER BY seq LIMIT ?`,
		q.After, millis(q.Since), until, q.Limit)
}
