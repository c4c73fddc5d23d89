package ssf

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// Said is what a receiver tells the transmitter of tokens that came before, by jti (RFC 8936 section 2.2).
type Said struct {
	Taken   []string
	Refused map[string]Refused
}

// Refused is why a token was not taken (section 2.6).
type Refused struct {
	Code string `json:"err"`
	Text string `json:"description"`
}

// Transmission is a stream that can be polled.
type Transmission interface {
	// Poll tells what became of earlier tokens and asks for at most most others, waiting a while for one. The tokens are by jti.
	Poll(ctx context.Context, said Said, most int) (sets map[string]string, more bool, err error)
}

// PollConfig says what to poll. The first two are required.
type PollConfig struct {
	Transmission Transmission
	Audience     string // that tokens of this stream are for

	Most       int                                              // tokens at a time; default 50
	First, Top time.Duration                                    // pause after a failure, and the longest; default 1 s and 10 s
	Sleep      func(ctx context.Context, d time.Duration) error // default waits
}

// Poll asks a transmitter for security event tokens until ctx ends: for receivers that nobody can call, such as a laptop's (RFC 8936). A token is
// acknowledged when its signals are on disk. What can't be verified or kept now is not, and comes again; what is wrong is refused, and does not.
func (r *Receiver) Poll(ctx context.Context, cfg PollConfig) error {
	switch {
	case cfg.Transmission == nil || cfg.Audience == "":
		return errors.New("polling for signals: set Transmission and Audience")
	case cfg.Most < 0 || cfg.First < 0 || cfg.Top < 0:
		return errors.New("polling for signals: numbers and times can't be negative")
	}
	if cfg.Most == 0 {
		cfg.Most = 50
	}
	if cfg.First == 0 {
		cfg.First = time.Second
	}
	if cfg.Top == 0 {
		cfg.Top = 10 * time.Second
	}
	if cfg.Sleep == nil {
		cfg.Sleep = rest
	}
	said, pause := Said{}, cfg.First
	for ctx.Err() == nil {
		asked := r.cfg.Clock()
		sets, more, err := cfg.Transmission.Poll(ctx, said, cfg.Most)
		if err == nil {
			said, err = r.takeAll(ctx, sets, cfg.Audience)
		}
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			pause = cfg.First
			// Usually a transmitter holds an asking for which it has nothing. One that does not is not asked all the time.
			if len(sets) == 0 && !more && r.cfg.Clock().Sub(asked) < cfg.First && cfg.Sleep(ctx, cfg.First) != nil {
				break
			}
			continue
		}
		r.troubled(err.Error())
		r.cfg.Logger.WarnContext(ctx, "polling for security event tokens fails; it goes on", "error", err)
		if cfg.Sleep(ctx, pause) != nil {
			break
		}
		pause = min(2*pause, cfg.Top)
	}
	return nil
}

// takeAll takes what a poll brought. The error says that something of it must come again, later; what was taken is acknowledged all the same.
func (r *Receiver) takeAll(ctx context.Context, sets map[string]string, audience string) (said Said, err error) {
	said.Refused = map[string]Refused{}
	for jti, raw := range sets {
		no := bad("invalid_request", "the token is larger than 64 KB")
		if len(raw) <= maxToken {
			no = r.take(ctx, identity.ParseUnverified(strings.TrimSpace(raw)), audience)
		}
		switch {
		case no == nil:
			said.Taken = append(said.Taken, jti)
		case no.retryable:
			err = fmt.Errorf("a security event token can't be taken now: %s", no.Text)
		default:
			r.refused(no.Text)
			r.cfg.Logger.WarnContext(ctx, "a security event token was not taken", "code", no.Code, "why", no.Text)
			said.Refused[jti] = Refused{no.Code, no.Text}
		}
	}
	return said, err
}

// troubled says that polling fails, for the status.
func (r *Receiver) troubled(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Problem = why
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
