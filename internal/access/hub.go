package access

import "sync"

// hub wakes those who watch a request when this process has changed it. Watchers look by themselves now and then too: another process may have.
type hub struct {
	mu       sync.Mutex
	watchers map[string]map[chan struct{}]bool // guarded by mu; by request
}

// stir wakes the watchers of a request.
func (h *hub) stir(request string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.watchers[request] {
		select {
		case c <- struct{}{}:
		default: // it is awake already
		}
	}
}

// watch returns a channel that is sent to at each stir, until stop is called.
func (h *hub) watch(request string) (c <-chan struct{}, stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers == nil {
		h.watchers = map[string]map[chan struct{}]bool{}
	}
	if h.watchers[request] == nil {
		h.watchers[request] = map[chan struct{}]bool{}
	}
	ch := make(chan struct{}, 1)
	h.watchers[request][ch] = true
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers[request], ch)
		if len(h.watchers[request]) == 0 {
			delete(h.watchers, request)
		}
	}
}
