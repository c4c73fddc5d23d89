package correlate

// EventOf is what an event is called in our log; "" when it is none of ours.
func EventOf(e Event) string {
	out, ours := (&Poller{}).entry(e)
	if !ours {
		return ""
	}
	return out.Detail[detailEvent]
}
