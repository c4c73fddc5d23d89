package evidence

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
	"github.com/bailiwick-dev/bailiwick/internal/privacy"
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
		e, _ = f.opened(i, e)
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
		Type: tiles.BundleType, Version: tiles.VersionWith(l.signed.Links), Origin: l.origin, VerifierKey: l.signed.Key, Checkpoint: l.signed.Message, LogKeys: l.signed.Links,
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
	if err := p.put("log/checkpoint", []byte(log.signed.Message)); err != nil {
		return err
	}
	if log.signed.History != nil {
		if err := p.put("log/"+tiles.HistoryName, log.signed.History); err != nil {
			return err
		}
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
	disclosed := ""
	if f.disclosed != nil {
		disclosed = "\n" + disclosedName + " the keys by which personal data in these entries was opened, and no others; where one is missing, the report says " + privacy.Erased
	}
	if f.provider != nil {
		disclosed += "\n" + listingName + " people who hold roles at the identity provider, as the control plane handed it out; it is not made from the log"
	}
	return fmt.Appendf(nil, `Evidence pack, %s to %s (UTC)

index.html      the report
cited.html      the entries that the report cites, each with a link to its proof
entries/*.csv   every entry behind every figure; "index" is the entry's place in the log
proofs/*.json   a proof of each cited entry:   bailiwick audit verify-bundle proofs/NUMBER.json --key KEY
policy/         the policy sets that decided, by digest
log/            the part of the log that holds the period, in the form of https://c2sp.org/tlog-tiles: entries %d to %d of %d
manifest.json   the SHA-256 of each file, and what the pack was made from%s

Check all of it, with no server and no network:

    bailiwick evidence verify . --key KEY

KEY is the log's verifier key. Get it from whoever runs the log, not from this folder. The maker states:

    %s

The check proves every entry in the pack against the signed root %s, makes the whole pack again from
them, and compares it byte for byte. With --log DIR it does so from the log itself, which also shows that no entry of the period was left out.
`, s.From, s.To, f.first, f.next-1, f.size, disclosed, log.verifierKey, log.root())
}
