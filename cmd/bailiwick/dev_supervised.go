package main

import (
	"fmt"
	"sync"
	"time"
)

// supervised is a child that is started again when it ends by itself, with growing pauses.
type supervised struct {
	start func() (*child, error)
	say   func(text string)

	mu      sync.Mutex // covers the following
	current *child
	halt    chan struct{} // closed by stop
	ended   chan struct{} // closed when the loop has ended
}

const (
	firstPause = 500 * time.Millisecond
	maxPause   = 30 * time.Second
	settled    = time.Minute // a child that ran so long begins again with the first pause
)

// supervise starts the child; its first start's error is the caller's.
func supervise(start func() (*child, error), say func(string)) (*supervised, error) {
	c, err := start()
	if err != nil {
		return nil, err
	}
	s := &supervised{start: start, say: say, current: c, halt: make(chan struct{}), ended: make(chan struct{})}
	go s.loop(c)
	return s, nil
}

func (s *supervised) loop(c *child) {
	defer close(s.ended)
	pause := firstPause
	began := time.Now()
	for {
		if c != nil {
			select {
			case <-s.halt:
				return
			case <-c.done:
			}
			if time.Since(began) > settled {
				pause = firstPause
			}
			s.say(fmt.Sprintf("%s ended (%s); starting it again in %v; its log: %s", c.name, c.how(), pause, c.logPath))
		}
		select {
		case <-s.halt:
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
		began = time.Now()
		next, err := s.start()
		if err != nil {
			s.say(err.Error())
			c = nil
			continue
		}
		s.mu.Lock()
		select {
		case <-s.halt: // stopped while it was starting: nobody else will end this one
			s.mu.Unlock()
			_ = next.stop(5 * time.Second)
			return
		default:
		}
		s.current = next
		s.mu.Unlock()
		c = next
	}
}

func (s *supervised) stop() error {
	s.mu.Lock()
	close(s.halt)
	c := s.current
	s.mu.Unlock()
	<-s.ended
	return c.stop(15 * time.Second)
}
