package inflight

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Effect is what becomes of a run or a schedule.
type Effect string

const (
	Block     Effect = "block"     // workers refuse its next activity; nothing is done to the run itself
	Pause     Effect = "pause"     // it goes on when the person is back, or somebody lets it
	Cancel    Effect = "cancel"    // its code may clean up
	Terminate Effect = "terminate" // at once
	AskOwner  Effect = "ask_owner" // as Pause, and it is on record that somebody should take it over
)

// Reasons for which somebody loses access, as bars have them.
var reasons = []string{"user_deactivated", "user_suspended", "session_revoked", "credential_changed"}

// Rule says what becomes of the runs that it fits. Empty fields fit all; "*" in a pattern stands for any text without a slash.
type Rule struct {
	When      []string `yaml:"when,omitempty"` // reasons; default user_deactivated and user_suspended
	Namespace string   `yaml:"namespace,omitempty"`
	Type      string   `yaml:"type,omitempty"` // of the workflow
	Do        Effect   `yaml:"do"`
	Owners    string   `yaml:"owners,omitempty"` // with AskOwner: the group that is asked; who may take it over, policy says
}

// Rules are what in-flight.yaml says. The first rule that fits decides; where none does, Block.
type Rules struct {
	Version   int    `yaml:"version"`
	Runs      []Rule `yaml:"runs"`
	Schedules []Rule `yaml:"schedules"` // Block, Pause or AskOwner; Type is that of the workflow that is started
}

// rulesVersion is the integer version of the file's form. History: 1 (2026-11) first.
const rulesVersion = 1

// LoadRules reads the file. Without it workers block, and nothing else is done.
func LoadRules(file string) (Rules, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || file == "" {
		return Rules{Version: rulesVersion}, nil
	}
	if err != nil {
		return Rules{}, fmt.Errorf("reading the rules for runs in flight: %w", err)
	}
	r, err := parseRules(raw)
	if err != nil {
		return Rules{}, fmt.Errorf("reading %s: %w", file, err)
	}
	return r, nil
}

func parseRules(raw []byte) (r Rules, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&r); err != nil {
		return Rules{}, err
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Rules{}, errors.New("it holds more than one document")
	}
	var wrong []error
	if r.Version != rulesVersion {
		wrong = append(wrong, fmt.Errorf("version is %d; this program knows %d", r.Version, rulesVersion))
	}
	for name, list := range map[string]struct {
		rules []Rule
		may   []Effect
	}{"runs": {r.Runs, []Effect{Block, Pause, AskOwner, Cancel, Terminate}}, "schedules": {r.Schedules, []Effect{Block, Pause, AskOwner}}} {
		for i, rule := range list.rules {
			if err := rule.check(list.may); err != nil {
				wrong = append(wrong, fmt.Errorf("%s[%d]: %w", name, i, err))
			}
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return Rules{}, err
	}
	return r, nil
}

func (r *Rule) check(may []Effect) error {
	if !slices.Contains(may, r.Do) {
		return fmt.Errorf("do is %q; there are %s", r.Do, strings.Trim(fmt.Sprint(may), "[]"))
	}
	if r.Owners != "" && r.Do != AskOwner || len(r.Owners) > maxOwners || strings.ContainsFunc(r.Owners, unicode.IsControl) {
		return fmt.Errorf("owners names a group, of at most %d bytes, and goes with do: %s", maxOwners, AskOwner)
	}
	for _, w := range r.When {
		if !slices.Contains(reasons, w) {
			return fmt.Errorf("when has %q; there are %s", w, strings.Join(reasons, ", "))
		}
	}
	for _, p := range []string{r.Namespace, r.Type} {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("%q is no pattern", p)
		}
	}
	return nil
}

// about reports whether a rule is for losses of a reason.
func (r *Rule) about(reason string) bool {
	if len(r.When) == 0 {
		return reason == "user_deactivated" || reason == "user_suspended"
	}
	return slices.Contains(r.When, reason)
}

// concern reports whether anything is to be looked for after a loss: always when the whole person is barred, so that it is on record what stands.
func (r *Rules) concern(reason string) bool {
	about := func(rule Rule) bool { return rule.about(reason) }
	return (&Rule{}).about(reason) || slices.ContainsFunc(r.Runs, about) || slices.ContainsFunc(r.Schedules, about)
}

// maxOwners bounds a group's name in a note, in bytes.
const maxOwners = 200

// effect is the rule that says what becomes of a target.
func (r *Rules) effect(reason string, t Target) Rule {
	list := r.Runs
	if t.Schedule != "" {
		list = r.Schedules
	}
	for _, rule := range list {
		if rule.about(reason) && fits(rule.Namespace, t.Namespace) && fits(rule.Type, t.Type) {
			return rule
		}
	}
	return Rule{Do: Block}
}

func fits(pattern, text string) bool {
	ok, err := path.Match(pattern, text)
	return pattern == "" || ok && err == nil
}
