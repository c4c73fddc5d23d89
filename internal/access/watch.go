package access

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
)

const (
	watchLook  = 3 * time.Second  // at least so often a watcher looks by itself
	watchBeat  = 15 * time.Second // at least so often something is sent, so that a dead connection is noticed
	watchLimit = time.Hour        // a stream ends after this, or when the token expires; the client asks again
)

// apiWatch streams a request's state as server-sent events (HTML standard, section 9.2): "state" with a Request each time that it changed, and "end"
// when nothing will change any more.
func (s *Service) apiWatch(w http.ResponseWriter, r *http.Request, who identity.Identity) {
	stirred, stop := s.hub.watch(r.PathValue("id")) // before the first look, so that no change falls between
	defer stop()
	have, err := s.visible(r, who)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	send := func(event string, data []byte) bool {
		_ = control.SetWriteDeadline(time.Now().Add(10 * time.Second)) // not every writer can; the server's own limit holds then
		if event == "" {
			_, err = fmt.Fprint(w, ": still here\n\n")
		} else {
			_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data)
		}
		return err == nil && control.Flush() == nil
	}
	end := time.NewTimer(min(watchLimit, max(0, who.Claims().Expires.Sub(s.cfg.Clock()))))
	defer end.Stop()
	look := time.NewTicker(watchLook)
	defer look.Stop()
	sent, at := "", time.Now()
	for {
		if data, err := json.Marshal(have); err == nil && string(data) != sent {
			if !send("state", data) {
				return
			}
			sent, at = string(data), time.Now()
		}
		if have.State.Ended() && have.Settled && (have.Review == nil || have.Review.By != nil) {
			send("end", []byte("{}"))
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-end.C:
			return
		case <-stirred:
		case <-look.C:
		}
		if next, err := s.Get(r.Context(), r.PathValue("id")); err == nil { // while Temporal does not answer, the last state stands
			have = next
		}
		if time.Since(at) > watchBeat {
			if !send("", nil) {
				return
			}
			at = time.Now()
		}
	}
}
