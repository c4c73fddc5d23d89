package access

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Settings are what access.yaml says.
type Settings struct {
	Rules  Rules       // of what policy does not say
	Link   string      // URL of a request's page, with {id} in it; empty: notices name the command instead
	Groups []GroupRole // roles that group memberships carry
	Notify []Channel

	MaxOpen int // requests of one person that have not ended, break-glass not counted; default DefaultMaxOpen
}

// DefaultMaxOpen is enough for anybody at work, and too little to bury approvers in requests.
const DefaultMaxOpen = 20

// GroupRole lets membership of a group carry a role in a namespace, instead of a grant that gates know.
type GroupRole struct {
	Namespace string `yaml:"namespace"`
	Role      string `yaml:"role"`
	Group     string `yaml:"group"` // name or id, as the Groups interface takes it
}

// Channel is where notices go: exactly one of the three kinds.
type Channel struct {
	Name    string   `yaml:"name"`
	Events  []string `yaml:"events,omitempty"` // only these; default all
	Loud    bool     `yaml:"loud,omitempty"`   // only break-glass and escalations
	Webhook *Webhook `yaml:"webhook,omitempty"`
	Slack   *Slack   `yaml:"slack,omitempty"`
	Email   *Email   `yaml:"email,omitempty"`
}

// settingsVersion is the integer version of the file's form. History: 1 (2026-11) first.
const settingsVersion = 1

// settingsFile is access.yaml as written.
type settingsFile struct {
	Version  int `yaml:"version"`
	Defaults struct {
		RemindAfter  string `yaml:"remind_after"`
		Escalate     string `yaml:"escalate_after"`
		ExpireAfter  string `yaml:"expire_after"`
		ActivateIn   string `yaml:"activate_within"`
		ReviewWithin string `yaml:"review_within"`
	} `yaml:"defaults"`
	Link    string      `yaml:"link"`
	MaxOpen *int        `yaml:"max_open"`
	Groups  []GroupRole `yaml:"okta_groups"`
	Notify  []Channel   `yaml:"notify"`
}

// LoadSettings reads access.yaml. Without the file everything has its default. Secrets are in files of their own, beside it or by absolute path.
func LoadSettings(path string) (Settings, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Settings{Rules: DefaultRules()}, nil
	}
	if err != nil {
		return Settings{}, fmt.Errorf("reading %s: %w", path, err)
	}
	s, err := parseSettings(raw, filepath.Dir(path))
	if err != nil {
		return Settings{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return s, nil
}

func parseSettings(raw []byte, dir string) (Settings, error) {
	var f settingsFile
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		return Settings{}, err
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Settings{}, errors.New("it holds more than one document")
	}
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if f.Version != settingsVersion {
		bad("version is %d; this program knows %d", f.Version, settingsVersion)
	}
	s := Settings{Rules: DefaultRules(), Link: f.Link, Groups: f.Groups, Notify: f.Notify}
	if f.MaxOpen != nil {
		if s.MaxOpen = *f.MaxOpen; s.MaxOpen < 1 || s.MaxOpen > 1000 {
			bad("max_open is %d; 1 to 1000 are possible", s.MaxOpen)
		}
	}
	for name, v := range map[string]struct {
		text string
		to   *time.Duration
	}{
		"remind_after": {f.Defaults.RemindAfter, &s.Rules.RemindAfter}, "escalate_after": {f.Defaults.Escalate, &s.Rules.Escalate}, "expire_after": {f.Defaults.ExpireAfter, &s.Rules.ExpireAfter},
		"activate_within": {f.Defaults.ActivateIn, &s.Rules.ActivateIn}, "review_within": {f.Defaults.ReviewWithin, &s.Rules.ReviewWithin},
	} {
		if v.text == "" {
			continue
		}
		d, err := time.ParseDuration(v.text)
		if err != nil || d < time.Minute || d > 31*24*time.Hour {
			bad("defaults.%s is %q; a duration from 1m to 744h is needed", name, v.text)
			continue
		}
		*v.to = d
	}
	if f.Link != "" {
		at, err := url.Parse(strings.ReplaceAll(f.Link, "{id}", "ar-x"))
		if err != nil || at.Scheme != "https" && at.Scheme != "http" || at.Host == "" || !strings.Contains(f.Link, "{id}") {
			bad("link is %q; an http or https URL with {id} in it is needed", f.Link)
		}
	}
	for i, g := range f.Groups {
		if g.Namespace == "" || g.Group == "" || !slices.Contains(Roles(), g.Role) {
			bad("okta_groups[%d] needs namespace, group and a role of %s", i, strings.Join(Roles(), ", "))
		}
	}
	names := map[string]bool{}
	for i := range s.Notify {
		c := &s.Notify[i]
		if c.Name == "" || names[c.Name] {
			bad("notify[%d] needs a name of its own", i)
		}
		names[c.Name] = true
		if err := c.check(dir); err != nil {
			bad("notify %q: %w", c.Name, err)
		}
	}
	return s, errors.Join(wrong...)
}

// events that a channel can be for.
var events = []string{"requested", "approved", "denied", "withdrawn", "expired", "activated", "extended", "returned", "revoked", "ended", "escalated", "reminded", "reviewed", "refused"}

func (c *Channel) check(dir string) error {
	kinds := 0
	for _, has := range []bool{c.Webhook != nil, c.Slack != nil, c.Email != nil} {
		if has {
			kinds++
		}
	}
	if kinds != 1 {
		return errors.New("name one of webhook, slack and email")
	}
	for _, e := range c.Events {
		if !slices.Contains(events, e) {
			return fmt.Errorf("%q is no event; there are %s", e, strings.Join(events, ", "))
		}
	}
	switch {
	case c.Webhook != nil:
		return c.Webhook.check(dir)
	case c.Slack != nil:
		return c.Slack.check(dir)
	}
	return c.Email.check(dir)
}

// wants reports whether a notice is for this channel.
func (c *Channel) wants(n *Notice) bool {
	return (!c.Loud || n.Loud) && (len(c.Events) == 0 || slices.Contains(c.Events, n.Event) || n.Loud)
}

// secretFile reads a secret: a path is relative to the settings.
func secretFile(dir, path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others: chmod 600 it", path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(raw))
	if secret == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return secret, nil
}

// backend chooses how a request takes effect: by group only where all that the group gives is asked for.
func (s *Settings) backend(a *Asked) (backend, group string) {
	if a.WorkflowType == "" && a.WorkflowID == "" && a.RunID == "" && a.TaskQueue == "" && a.Role != "" {
		for _, g := range s.Groups {
			if g.Namespace == a.Namespace && g.Role == a.Role {
				return Okta, g.Group
			}
		}
	}
	return Native, ""
}
