// Package evidence makes an audit's evidence pack from the sealed log: a folder with one report that an auditor can read, the entries behind
// every figure, and the part of the log with which each of them is proven offline.
//
// It owns the pack's form, the figures and how they follow from entries, and the check of a pack, which makes it again from what is in it. It
// refuses to know anything but the record: what is not in the log is not evidence. One thing may stand beside it and is told apart: a listing of the
// identity provider's people, whose digest the log has. It reads the log by its published layout (C2SP tlog-tiles)
// with golang.org/x/mod's tlog, and with nothing of what sealed it. The clock plays no part: the same log and settings give the same bytes.
//
// Memory grows with people, namespaces and lifecycle events, not with decisions; those stream through.
package evidence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// Version is the integer version of the pack's form. History: 1 (2026-11) first.
const Version = 1

// Frameworks that a pack can be mapped to.
var frameworks = map[string]bool{"soc2": true}

// ErrSettings is wrapped by errors about settings that can't be used.
var ErrSettings = errors.New("invalid settings")

// Settings are what a pack is made from besides the log. They are in its manifest, so that it can be made again.
type Settings struct {
	From         string `json:"from"` // first day, YYYY-MM-DD, in UTC
	To           string `json:"to"`   // last day
	Framework    string `json:"framework"`
	Organization string `json:"organization,omitempty"` // on the cover
	By           string `json:"by,omitempty"`           // who made the pack and verified the log, on the cover
	Issued       string `json:"issued,omitempty"`       // when, as the maker says (RFC 3339 or a day); the clock is not asked
	Rules        Rules  `json:"rules"`

	Directory *Listing `json:"directory,omitempty"` // people who hold roles at the identity provider; nil: the pack says nothing of them
}

// period is the half-open span of a pack, in UTC.
func (s Settings) period() (from, to time.Time, err error) {
	if from, err = time.Parse(time.DateOnly, s.From); err != nil {
		return from, to, fmt.Errorf("%w: from is %.40q; write a day such as 2026-10-01", ErrSettings, s.From)
	}
	if to, err = time.Parse(time.DateOnly, s.To); err != nil {
		return from, to, fmt.Errorf("%w: to is %.40q; write a day such as 2026-12-31", ErrSettings, s.To)
	}
	to = to.AddDate(0, 0, 1)
	switch {
	case !from.Before(to):
		return from, to, fmt.Errorf("%w: the period ends on %s, before it begins on %s", ErrSettings, s.To, s.From)
	case to.Sub(from) > 1100*24*time.Hour:
		return from, to, fmt.Errorf("%w: the period from %s to %s is longer than three years; make several packs", ErrSettings, s.From, s.To)
	case !frameworks[s.Framework]:
		return from, to, fmt.Errorf("%w: framework %.40q is not known; soc2 is", ErrSettings, s.Framework)
	}
	return from, to, s.Rules.check()
}

// Config says what to make a pack from.
type Config struct {
	Settings
	Log         fs.FS  // the sealed log by its published layout: checkpoint, tile/entries/…, tile/0/…
	VerifierKey string // the log's, in note form
	// Texts returns the policy set of a digest as it was kept; an error means that it was not. Nil: none was.
	Texts func(digest string) ([]byte, error)
	// Disclose opens entries whose personal data is encrypted, and gives the keys of that entry alone, which go into the pack so that it can be
	// checked: (*privacy.Discloser).Disclose. It is called from several goroutines. Nil: the pack names pseudonyms.
	Disclose func(audit.Entry) (audit.Entry, map[string][]byte)
	// Directory opens the listing that Settings.Directory names; needed where that is set.
	Directory func() (io.ReadCloser, error)
	Progress  func(done, total uint64) // entries looked at, of both passes; called from Make's goroutine; may be nil
}

// Summary is what a pack says in a few numbers.
type Summary struct {
	Origin     string `json:"origin"`
	Size       uint64 `json:"size"` // entries under the checkpoint
	Root       string `json:"root"` // base64
	Entries    uint64 `json:"entries"`
	First      uint64 `json:"first"` // indexes of the entries in the pack: from First up to and without Next
	Next       uint64 `json:"next"`
	Cited      int    `json:"cited"`
	Exceptions int    `json:"exceptions"`
	Files      int    `json:"files"`
	Bytes      int64  `json:"bytes"`
}

// Make writes the pack into dir, which must not exist or be empty. A crash leaves "dir.partial".
func Make(ctx context.Context, cfg Config, dir string) (Summary, error) {
	out, err := newFolder(dir)
	if err != nil {
		return Summary{}, fmt.Errorf("making the evidence pack: %w", err)
	}
	sum, err := build(ctx, cfg, out)
	if err == nil {
		err = out.publish()
	}
	if err != nil {
		out.abandon()
		return Summary{}, fmt.Errorf("making the evidence pack: %w", err)
	}
	return sum, nil
}

// build is the whole of it: verify the log and find what lies in the period; go through that once more for the figures; write.
func build(ctx context.Context, cfg Config, out sink) (Summary, error) {
	var opens discloser
	if cfg.Disclose != nil {
		opens = func(_ uint64, e audit.Entry) (audit.Entry, map[string][]byte) { return cfg.Disclose(e) }
	}
	return rebuild(ctx, cfg, extent{}, opens, &pack{sink: out})
}

// rebuild is build for what there is of a log.
func rebuild(ctx context.Context, cfg Config, known extent, opens discloser, p *pack) (Summary, error) {
	from, to, err := cfg.period()
	if err != nil {
		return Summary{}, err
	}
	log, err := openLog(cfg.Log, cfg.VerifierKey)
	if err != nil {
		return Summary{}, err
	}
	if known.partial && known.next > log.size() {
		return Summary{}, fmt.Errorf("%w: entries up to %d are claimed of a log of %d", ErrLog, known.next, log.size())
	}
	log.known, log.progress = known, cfg.Progress
	f := newFacts(cfg.Settings, from, to)
	f.disclose = opens
	if err := f.survey(ctx, log); err != nil {
		return Summary{}, err
	}
	if err := f.collect(ctx, log, p); err != nil {
		return Summary{}, err
	}
	if err := f.listed(cfg.Directory, p); err != nil {
		return Summary{}, err
	}
	f.judge(cfg.Texts)
	return write(cfg, log, f, p)
}
