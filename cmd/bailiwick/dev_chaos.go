package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
)

// chaosTargets are what can go wrong at the development org.
var chaosTargets = []string{"okta", "users", "groups", "apps", "authorizationServers", "eventHooks", "logs", "token", "oauth2", "keys", "hooks", "ssf", "logout"}

// chaosFault is a fault as the development org has it.
type chaosFault struct {
	ID         int       `json:"id,omitempty"`
	Target     string    `json:"target"`
	Status     int       `json:"status,omitempty"`
	SlowMillis int       `json:"slow_ms,omitempty"`
	Malformed  bool      `json:"malformed,omitempty"`
	Duplicate  bool      `json:"duplicate,omitempty"`
	Reorder    bool      `json:"reorder,omitempty"`
	Drop       bool      `json:"drop,omitempty"`
	Seconds    int       `json:"for_seconds,omitempty"`
	Until      time.Time `json:"until,omitzero"`
}

func (f *chaosFault) what() string {
	var parts []string
	if f.Status != 0 {
		parts = append(parts, fmt.Sprintf("HTTP %d", f.Status))
	}
	if f.SlowMillis != 0 {
		parts = append(parts, fmt.Sprintf("%v slow", time.Duration(f.SlowMillis)*time.Millisecond))
	}
	for name, is := range map[string]bool{"malformed": f.Malformed, "duplicated": f.Duplicate, "reordered": f.Reorder, "dropped": f.Drop} {
		if is {
			parts = append(parts, name)
		}
	}
	return strings.Join(parts, ", ")
}

func (a *app) devChaosCommand() *cobra.Command {
	var f chaosFault
	var slow, lasting time.Duration
	c := &cobra.Command{
		Use:   "chaos TARGET",
		Short: "Let something go wrong at the development org",
		Long: `Let something go wrong at the development org that "bailiwick dev" runs, for a while, to see what the rest does: who has a valid token goes on, who lost
access is refused, and nothing opens.

TARGET is okta (the whole API), one family of its endpoints (users, groups, apps, authorizationServers, eventHooks, logs, token, oauth2), keys (the signing
keys), or a way by which it tells what happens: hooks (event hooks), ssf (Shared Signals) or logout (Universal Logout). Pages where people sign in go on. A fault ends by itself, and all end when the org is started again.`,
		Example: `  bailiwick dev chaos okta --status 429 --for 30s
  bailiwick dev chaos users --slow 5s --for 1m
  bailiwick dev chaos hooks --duplicate --reorder --for 10m
  bailiwick dev chaos ssf --malformed --slow 3s
  bailiwick dev chaos keys --status 503 --for 2m
  bailiwick dev chaos rotate                        # as Okta does by itself: at once, waiting for nobody
  bailiwick dev chaos list
  bailiwick dev chaos clear`,
		Args:      usage(cobra.ExactArgs(1)),
		ValidArgs: chaosTargets,
		RunE: func(c *cobra.Command, args []string) error {
			f.Target, f.SlowMillis, f.Seconds = args[0], int(slow.Milliseconds()), int(lasting.Seconds())
			if err := a.faults(c.Context(), http.MethodPost, f, &f); err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(f)
			}
			fmt.Fprintf(a.out, "%s: %s until %s; end it with: bailiwick dev chaos clear\n", a.out.yellow(f.Target), f.what(), f.Until.Local().Format("15:04:05"))
			return nil
		},
	}
	fl := c.Flags()
	fl.IntVar(&f.Status, "status", 0, "answer with this: 429, with its headers, or 500 to 599")
	fl.DurationVar(&slow, "slow", 0, "wait this long before each answer, or delivery")
	fl.BoolVar(&f.Malformed, "malformed", false, "answer 200 with JSON that is cut; hooks, ssf, logout: send a cut copy before each")
	fl.BoolVar(&f.Duplicate, "duplicate", false, "hooks, ssf, logout: deliver each event two or three times")
	fl.BoolVar(&f.Reorder, "reorder", false, "hooks, ssf, logout: deliver in another order")
	fl.BoolVar(&f.Drop, "drop", false, "hooks, ssf, logout: deliver nothing")
	fl.DurationVar(&lasting, "for", time.Minute, "how long, from 1s to 24h")
	c.AddCommand(&cobra.Command{
		Use: "list", Short: "List what goes wrong now", Example: "  bailiwick dev chaos list --json", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			all := []chaosFault{}
			if err := a.faults(c.Context(), http.MethodGet, nil, &all); err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(all)
			}
			if len(all) == 0 {
				fmt.Fprintln(a.out, "Nothing goes wrong on request.")
				return nil
			}
			var rows [][]string
			for _, f := range all {
				rows = append(rows, []string{f.Target, f.what(), f.Until.Local().Format("15:04:05")})
			}
			a.out.rows([]string{"TARGET", "WHAT", "UNTIL"}, rows)
			return nil
		},
	}, &cobra.Command{
		Use: "clear", Short: "End all faults", Example: "  bailiwick dev chaos clear", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.faults(c.Context(), http.MethodDelete, nil, nil); err != nil {
				return err
			}
			if a.asJSON {
				return a.out.json(map[string]bool{"cleared": true})
			}
			fmt.Fprintln(a.out, "All faults have ended.")
			return nil
		},
	})
	c.AddCommand(a.devChaosRotateCommand())
	return c
}

// faults calls the development org's own API of faults.
func (a *app) faults(ctx context.Context, method string, in, out any) error {
	base, err := a.devOrg()
	if err != nil {
		return err
	}
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base+"/dev/faults", body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "SSWS "+devorg.APIToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return &coded{Code: "org_unreachable", Text: "no development org answers at " + base, Fix: "is `bailiwick dev` running?"}
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("reading the development org's answer: %w", err)
	}
	switch {
	case res.StatusCode == http.StatusBadRequest:
		var wire struct {
			Causes []struct {
				Summary string `json:"errorSummary"`
			} `json:"errorCauses"`
		}
		why := "it is not understood"
		if json.Unmarshal(raw, &wire) == nil && len(wire.Causes) > 0 {
			why = wire.Causes[0].Summary
		}
		return &usageError{fmt.Errorf("the development org can't do that: %s", why), "bailiwick dev chaos"}
	case res.StatusCode/100 != 2:
		return &coded{Code: "not_a_development_org", Text: fmt.Sprintf("what answers at %s is not a development org (HTTP %d)", base, res.StatusCode), Fix: "choose the context of `bailiwick dev` with --context"}
	case out == nil:
		return nil
	}
	return json.Unmarshal(raw, out)
}
