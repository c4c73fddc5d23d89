package evidence

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
)

// maxCited bounds how many entries get a page of their own and a proof bundle. Every other one is proven by the pack's part of the log.
const maxCited = 3000

// Manifest lists a pack's files and what they were made from.
type Manifest struct {
	Type     string   `json:"type"` // "bailiwick-evidence"
	Version  int      `json:"v"`
	Settings Settings `json:"settings"`
	Log      struct {
		Origin      string `json:"origin"`
		VerifierKey string `json:"verifier_key"` // as the maker states it: a verifier must know it from elsewhere
		Size        uint64 `json:"size"`
		Root        string `json:"root"`
		First       uint64 `json:"first"` // the pack holds the entries from First up to and without Next
		Next        uint64 `json:"next"`
	} `json:"log"`
	Files []File `json:"files"` // by path; without the manifest itself and the PDF, which is a print of index.html
}

// ManifestType is the value of a manifest's field "type".
const ManifestType = "bailiwick-evidence"

// write puts everything into the pack that is made from the figures.
func write(cfg Config, log *sealedLog, f *facts, p *pack) (Summary, error) {
	report := f.view(log)
	if err := f.tables(p); err != nil {
		return Summary{}, err
	}
	page, err := report.render()
	if err != nil {
		return Summary{}, err
	}
	if err := p.put("index.html", page); err != nil {
		return Summary{}, err
	}
	if err := f.writeCited(log, p); err != nil {
		return Summary{}, err
	}
	if err := keepTexts(cfg.Texts, f.digests(), p); err != nil {
		return Summary{}, err
	}
	if err := keepLog(log, p); err != nil {
		return Summary{}, err
	}
	if err := p.put("README.txt", readme(cfg.Settings, log, f)); err != nil {
		return Summary{}, err
	}
	sum := Summary{Origin: log.origin, Size: f.size, Root: log.root(), Entries: f.entries, First: f.first, Next: f.next, Cited: len(f.cited), Files: len(p.files) + 1}
	for _, c := range report.Criteria {
		sum.Exceptions += len(c.Exceptions) + c.Beyond
	}
	m := Manifest{Type: ManifestType, Version: Version, Settings: cfg.Settings, Files: p.sorted()}
	m.Log.Origin, m.Log.VerifierKey, m.Log.Size, m.Log.Root, m.Log.First, m.Log.Next = log.origin, log.verifierKey, f.size, log.root(), f.first, f.next
	raw, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return Summary{}, fmt.Errorf("writing the manifest: %w", err)
	}
	for _, file := range m.Files {
		sum.Bytes += file.Size
	}
	return sum, p.put("manifest.json", append(raw, '\n'))
}

// tables writes the small tables; those of decisions are written already.
func (f *facts) tables(p *pack) error {
	var errs []error
	write := func(name string, columns []string, fill func(row func(...string))) {
		t, err := p.table("entries/"+name+".csv", columns...)
		if err != nil {
			errs = append(errs, err)
			return
		}
		fill(func(cells ...string) { errs = append(errs, t.row(cells...)) })
		errs = append(errs, t.close())
	}
	n := func(v uint64) string { return strconv.FormatUint(v, 10) }
	at := func(r Ref) string {
		if r.ID == "" {
			return ""
		}
		return n(r.Index)
	}
	write("access", []string{"person", "principal", "namespace", "level", "calls", "first", "first_entry", "last", "last_entry", "policies", "grants", "through_agents"}, func(row func(...string)) {
		for _, x := range f.sortedPairs() {
			row(f.called(x.principal, "").Name(), x.principal, x.namespace, x.access, n(x.N), stamp(x.First.Time), at(x.First), stamp(x.Last.Time), at(x.Last),
				strings.Join(x.policies, " "), strings.Join(x.grants, " "), strconv.FormatBool(x.agents))
		}
	})
	write("roles-held", []string{"person", "principal", "namespace", "role", "used", "first_seen", "first_entry", "last_seen", "last_entry"}, func(row func(...string)) {
		for _, h := range f.sortedHeld() {
			row(f.called(h.principal, "").Name(), h.principal, h.namespace, h.role, strconv.FormatBool(h.Used), stamp(h.First.Time), at(h.First), stamp(h.Last.Time), at(h.Last))
		}
	})
	write("requests", []string{"request", "requester", "principal", "namespace", "role", "actions", "asked", "asked_entry", "outcome", "decided", "approvers", "grant", "seconds", "expires", "break_glass", "reviewed_by", "uses", "reason"}, func(row func(...string)) {
		for _, q := range f.requestList {
			row(q.ID, f.called(q.Requester.Principal, q.Requester.Login).Name(), q.Requester.Principal, q.Namespace, q.Role, q.Actions, stamp(q.Asked.Time), at(q.Asked), q.Outcome,
				stamp(q.Decided.Time), names(q.Approvers), q.Grant, strconv.FormatInt(q.Seconds, 10), q.Expires, strconv.FormatBool(q.BreakGlass), reviewer(q), n(q.Uses.N), q.Reason)
		}
	})
	stepRow := func(row func(...string), s step) {
		row(n(s.Index), stamp(s.Time), s.ID, s.Kind, s.Event, s.Subject, s.Who.Name(), s.Detail)
	}
	stepColumns := []string{"index", "time", "id", "kind", "event", "subject", "by", "detail"}
	write("request-steps", stepColumns, func(row func(...string)) {
		for _, s := range f.steps {
			if s.Kind == string(audit.KindAccess) {
				stepRow(row, s)
			}
		}
	})
	write("revocations", stepColumns, func(row func(...string)) {
		for _, s := range f.steps {
			if s.Kind == string(audit.KindRevocation) {
				stepRow(row, s)
			}
		}
	})
	write("break-glass", stepColumns, func(row func(...string)) {
		for _, s := range f.steps {
			if q := f.requests[s.Subject]; q != nil && q.BreakGlass {
				stepRow(row, s)
			}
		}
	})
	write("refused-people", []string{"who", "principal", "source", "calls", "codes", "first", "first_entry", "last", "last_entry"}, func(row func(...string)) {
		for _, x := range f.sortedRefused() {
			row(x.who.Name(), x.who.Principal, x.source, n(x.N), codesOf(x), stamp(x.First.Time), at(x.First), stamp(x.Last.Time), at(x.Last))
		}
	})
	write("refused-codes", []string{"from", "code", "calls"}, func(row func(...string)) {
		for _, c := range f.sortedCodes() {
			for i, v := range f.codes[c].buckets {
				if v > 0 {
					row(f.buckets.start(i).Format(time.DateOnly), c, n(v))
				}
			}
		}
	})
	write("keys", []string{"index", "time", "id", "gate", "event", "use", "kid", "previous"}, func(row func(...string)) {
		for _, k := range f.keys {
			row(n(k.Index), stamp(k.Time), k.ID, k.Gate, k.Event, k.Use, k.KID, k.Previous)
		}
	})
	write("policy-changes", []string{"index", "time", "id", "gate", "from", "to", "refused", "added", "removed", "text_kept"}, func(row func(...string)) {
		for _, c := range f.policies {
			row(n(c.Index), stamp(c.Time), c.ID, c.Gate, c.From, c.To, strconv.FormatBool(c.Refused), strconv.Itoa(c.Added), strconv.Itoa(c.Removed), strconv.FormatBool(c.Kept))
		}
	})
	write("joiners-leavers", []string{"person", "principal", "what", "group", "source", "at_provider", "entry", "barred", "barred_entry", "first_refused_entry", "last_allowed", "last_allowed_entry", "allowed_after", "first_allowed_entry", "access_lasted_seconds"}, func(row func(...string)) {
		for _, m := range f.moves {
			lasted := ""
			if d, ok := m.lasted(); ok && m.takesAway() {
				lasted = strconv.FormatFloat(d.Seconds(), 'f', 3, 64)
			}
			row(m.Subject.Name(), m.Subject.Principal, m.Kind, m.Group, m.Source, stamp(m.At), at(m.Entry), stamp(m.Bar.Time), at(m.Bar), at(m.FirstRefused), stamp(m.LastAllowed.Time), at(m.LastAllowed), n(m.AllowedAfter), at(m.FirstAllowed), lasted)
		}
	})
	write("duties", []string{"rule", "person", "principal", "what", "first_entry", "second_entry"}, func(row func(...string)) {
		for _, c := range f.conflicts {
			row(c.Rule.ID, c.Who.Name(), c.Who.Principal, c.What, at(c.First), at(c.Second))
		}
	})
	write("reports", []string{"index", "time", "id", "from", "to", "bypasses", "orphans"}, func(row func(...string)) {
		for _, r := range f.reports {
			row(n(r.Index), stamp(r.Time), r.ID, r.From, r.To, strconv.Itoa(r.Bypasses), strconv.Itoa(r.Orphans))
		}
	})
	write("days", []string{"from", "allowed", "refused"}, func(row func(...string)) {
		for i, c := range f.byBucket {
			row(f.buckets.start(i).Format(time.DateOnly), n(c[0]), n(c[1]))
		}
	})
	write("samples", []string{"criterion", "index", "time", "id"}, func(row func(...string)) {
		for _, c := range criteria {
			for _, r := range f.sample(c.ID).drawn() {
				row(c.ID, n(r.Index), stamp(r.Time), r.ID)
			}
		}
	})
	return errors.Join(errs...)
}

func names(list []person) string {
	var out []string
	for _, p := range list {
		out = append(out, p.Name())
	}
	return strings.Join(out, ", ")
}

func reviewer(q *request) string {
	if q.Reviewed.ID == "" {
		return ""
	}
	return q.ReviewedBy.Name()
}

func codesOf(p *refusedPerson) string {
	var out []string
	for c := range p.codes {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(p.codes[b], p.codes[a]), cmp.Compare(a, b)) })
	for i, c := range out {
		out[i] = fmt.Sprintf("%s %d", c, p.codes[c])
	}
	return strings.Join(out, ", ")
}

// heldRow is a role that somebody's groups gave.
type heldRow struct {
	heldKey
	span
	Used bool
}

// levelOf is the level of access that a role of the usual four gives.
var levelOf = map[string]string{"read": "read", "write": "operate", "worker": "work", "admin": "administer"}

func (f *facts) sortedHeld() []heldRow {
	list := make([]heldRow, 0, len(f.held))
	for k, s := range f.held {
		level, known := levelOf[k.role]
		list = append(list, heldRow{k, *s, !known || f.pairs[pairKey{k.principal, k.namespace, level}] != nil})
	}
	slices.SortFunc(list, func(a, b heldRow) int {
		return cmp.Or(cmp.Compare(f.called(a.principal, "").Name(), f.called(b.principal, "").Name()), cmp.Compare(a.principal, b.principal), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.role, b.role))
	})
	return list
}

// writeCited writes the page of cited entries and a proof bundle of each.
func (f *facts) writeCited(log *sealedLog, p *pack) error {
	indexes := make([]uint64, 0, len(f.cited))
	for i := range f.cited {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	var rows []citedRow
	var have uint64
	var entries [][]byte
	for _, i := range indexes {
		if n := i / tileWidth; entries == nil || n != have {
			var err error
			if entries, err = readBundle(log.files, n, f.size); err != nil {
				return err
			}
			have = n
		}
		raw := entries[i%tileWidth]
		text, err := log.prove(i, raw)
		if err != nil {
			return err
		}
		if err := p.put(fmt.Sprintf("proofs/%d.json", i), text); err != nil {
			return err
		}
		e, err := audit.ParseEntry(raw)
		if err != nil {
			return fmt.Errorf("reading entry %d: %w", i, err)
		}
		rows = append(rows, newCitedRow(i, raw, &e, tlog.RecordHash(raw)))
	}
	page, err := renderCited(f.settings, rows)
	if err != nil {
		return err
	}
	return p.put("cited.html", page)
}

// prove makes an entry's proof bundle.
func (l *sealedLog) prove(index uint64, raw []byte) ([]byte, error) {
	proof, err := tlog.ProveRecord(l.tree.N, int64(index), tlog.TileHashReader(l.tree, l.reader))
	if err != nil {
		return nil, fmt.Errorf("%w: proving entry %d: %w", ErrLog, index, err)
	}
	b := tiles.Bundle{
		Type: tiles.BundleType, Version: tiles.BundleVersion, Origin: l.origin, VerifierKey: l.verifierKey, Checkpoint: l.message,
		Entry: tiles.ProvenEntry{Index: index, Raw: string(raw), Proof: []string{}},
	}
	for _, h := range proof {
		b.Entry.Proof = append(b.Entry.Proof, h.String())
	}
	return b.Marshal()
}

// keepTexts copies the policy sets that entries name, as they are and as files to read.
func keepTexts(texts func(string) ([]byte, error), digests []string, p *pack) error {
	if texts == nil {
		return nil
	}
	for _, d := range digests {
		raw, err := texts(d)
		if err != nil {
			continue // the report says which texts were not kept
		}
		if err := p.put("policy/sets/"+d, raw); err != nil {
			return err
		}
		set, err := splitSet(raw)
		if err != nil {
			continue
		}
		for i, t := range set {
			if err := p.put(fmt.Sprintf("policy/%s/%02d-%s", short(d), i, plainName(t.Name)), []byte(t.Text)); err != nil {
				return err
			}
		}
	}
	return nil
}

// plainName makes a file's name harmless on any file system.
func plainName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return r
		}
		return '_'
	}, s)
	if len(s) > 80 {
		s = s[len(s)-80:]
	}
	return strings.TrimLeft(s, ".")
}

// keepLog copies the checkpoint, its key and the tiles that proofs of the range need.
func keepLog(log *sealedLog, p *pack) error {
	if err := p.put("log/checkpoint", []byte(log.message)); err != nil {
		return err
	}
	if err := p.put("log/verifier-key", []byte(log.verifierKey+"\n")); err != nil {
		return err
	}
	return keepTiles(log, p)
}

// keepTiles writes the tiles that proofs needed since it was last called, and lets go of them.
func keepTiles(log *sealedLog, p *pack) error {
	var list []tlog.Tile
	for t := range log.reader.used {
		if !log.reader.kept[t] {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b tlog.Tile) int {
		return cmp.Or(cmp.Compare(a.L, b.L), cmp.Compare(a.N, b.N), cmp.Compare(a.W, b.W))
	})
	for _, t := range list {
		data := log.reader.used[t]
		if err := p.put("log/"+tilePath(t.L, uint64(t.N), len(data)/tlog.HashSize), data); err != nil {
			return err
		}
		log.reader.kept[t] = true
	}
	clear(log.reader.used)
	return nil
}

func readme(s Settings, log *sealedLog, f *facts) []byte {
	return fmt.Appendf(nil, `Evidence pack, %s to %s (UTC)

index.html      the report
cited.html      the entries that the report cites, each with a link to its proof
entries/*.csv   every entry behind every figure; "index" is the entry's place in the log
proofs/*.json   a proof of each cited entry:   bailiwick audit verify-bundle proofs/NUMBER.json --key KEY
policy/         the policy sets that decided, by digest
log/            the part of the log that holds the period, in the form of https://c2sp.org/tlog-tiles: entries %d to %d of %d
manifest.json   the SHA-256 of each file, and what the pack was made from

Check all of it, with no server and no network:

    bailiwick evidence verify . --key KEY

KEY is the log's verifier key. Get it from whoever runs the log, not from this folder. The maker states:

    %s

The check proves every entry in the pack against the signed root %s, makes the whole pack again from
them, and compares it byte for byte. With --log DIR it does so from the log itself, which also shows that no entry of the period was left out.
`, s.From, s.To, f.first, f.next-1, f.size, log.verifierKey, log.root())
}
