package evidence

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// read is an entry as the second pass takes it.
type read struct {
	entry audit.Entry
	keys  map[string][]byte // by which it was opened; nil when nothing in it was encrypted
	err   error
}

// decisionColumns are those of the tables of decisions.
var decisionColumns = []string{"index", "time", "id", "who", "principal", "client", "through", "action", "access", "namespace", "workflow_type", "workflow_id", "run_id", "outcome", "code", "policies", "grant", "missing", "reason", "source"}

// collect is the second pass: it proves the entries of the pack's range against the root, copies them into the pack, writes the tables of
// decisions, and counts.
func (f *facts) collect(ctx context.Context, log *sealedLog, p *pack) error {
	tables := map[string]*table{}
	defer func() {
		for _, t := range tables {
			t.abandon()
		}
	}()
	for _, name := range decisionTables {
		t, err := p.table("entries/"+name+".csv", decisionColumns...)
		if err != nil {
			return err
		}
		tables[name] = t
	}
	log.reader.used, log.reader.kept = map[tlog.Tile][]byte{}, map[tlog.Tile]bool{}
	defer func() { _ = f.disclosed.close() }() // again, when something fails before
	parse := func(index uint64, raw []byte) read {
		e, err := audit.ParseEntry(raw)
		if err != nil {
			return read{err: err}
		}
		e, keys := f.opened(index, e)
		return read{e, keys, nil}
	}
	for b := range bundlesOf(ctx, log, f.first, f.next, parse) {
		if err := ctx.Err(); err != nil {
			return err
		}
		next := min(b.first+tileWidth, f.size)
		proven, err := log.hashes(b.first, next)
		if err != nil {
			return err
		}
		if errors.Is(b.err, fs.ErrNotExist) {
			f.gone += next - b.first
			continue
		}
		if b.err != nil {
			return b.err
		}
		for i := range b.raw {
			if b.hashes[i] != proven[i] {
				return fmt.Errorf("%w: entry %d is not the one that was sealed", ErrLog, b.first+uint64(i))
			}
			index := b.first + uint64(i)
			if err := errors.Join(f.take(index, &b.parsed[i], tables), f.discloses(p, index, &b.parsed[i])); err != nil {
				return err
			}
		}
		if err := errors.Join(p.bundle(b.first/tileWidth, b.raw), keepTiles(log, p)); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, name := range decisionTables {
		if err := tables[name].close(); err != nil {
			return err
		}
	}
	if err := f.disclosed.close(); err != nil {
		return err
	}
	f.tally()
	return nil
}

// decisionTables are the files that hold every decision of the period, each in one of them.
var decisionTables = []string{"denied", "allowed-operate", "allowed-administer", "allowed-read", "allowed-work", "allowed-other"}

func tableOf(e *audit.Entry) string {
	switch {
	case !e.Decision.Allow:
		return "denied"
	case e.Access == "operate", e.Access == "administer", e.Access == "read", e.Access == "work":
		return "allowed-" + e.Access
	}
	return "allowed-other"
}

func (f *facts) take(index uint64, r *read, tables map[string]*table) error {
	if r.err != nil {
		if len(f.unreadable) < maxNames {
			f.unreadable = append(f.unreadable, Ref{Index: index})
		}
		return nil
	}
	e := &r.entry
	if !f.within(e.Time) {
		return nil
	}
	ref := Ref{index, e.Time, e.ID}
	f.entries++
	f.kinds[e.Kind]++
	f.daysSeen[int(e.Time.Sub(f.from)/(24*time.Hour))] = true
	if e.Time.After(f.logEnd) {
		f.logEnd = e.Time
	}
	f.sample("CC7.2").offer(ref)
	if e.Kind != audit.KindDecision || e.Decision == nil {
		return nil
	}
	f.sample("CC6.1").offer(ref)
	f.decision(ref, e)
	f.starts(ref, e)
	f.movesSee(ref, e)
	d := e.Decision
	outcome := "allow"
	if !d.Allow {
		outcome = "deny"
	}
	who := person{e.Actor.Principal, e.Actor.Login, e.Actor.ClientID}
	return tables[tableOf(e)].row(strconv.FormatUint(index, 10), stamp(e.Time), e.ID, who.Name(), e.Actor.Principal, e.Actor.ClientID, strings.Join(e.Actor.Actors, " "),
		e.Action, e.Access, e.Resource.Namespace, e.Resource.WorkflowType, e.Resource.WorkflowID, e.Resource.RunID, outcome, string(d.Code),
		strings.Join(d.Policies, " "), e.Grant, d.Missing, e.Reason, e.Source)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
