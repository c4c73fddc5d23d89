package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/bailiwick-dev/bailiwick/audit/tiles"
)

// PDFName is the print of the report, which no manifest lists: browsers write the time into it.
const PDFName = "report.pdf"

// Codes of what can be wrong with a pack.
const (
	CodeManifest     = "manifest_malformed"
	CodeKeyUntrusted = "key_untrusted" // the pack is of a log whose key the verifier was not told to trust
	CodeFileMissing  = "file_missing"
	CodeFileAltered  = "file_altered"
	CodeFileExtra    = "file_extra"
	CodeLogUnproven  = "log_unproven"   // checkpoint, tiles and entries in the pack are not of each other
	CodeDiffers      = "pack_differs"   // what follows from the entries is not what the pack says
	CodeLogDiffers   = "log_differs"    // the log that was named gives another pack
	CodeNotOfLog     = "log_not_of_key" // the log that was named does not verify up to the pack's checkpoint
)

// Problem is something wrong with a pack.
type Problem struct {
	Code string `json:"code"`
	Path string `json:"path,omitempty"`
	Text string `json:"text"`
}

// Verdict is what checking a pack found.
type Verdict struct {
	Manifest Manifest  `json:"-"`
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`
	Entries  uint64    `json:"entries"` // of the period, made again from
	FromLog  bool      `json:"from_log"`
	Problems []Problem `json:"problems,omitempty"`
}

// OK reports whether nothing is wrong.
func (v Verdict) OK() bool { return len(v.Problems) == 0 }

// VerifyConfig says what to check.
type VerifyConfig struct {
	Pack        fs.FS  // the pack's folder
	VerifierKey string // the log's, known from elsewhere
	Log         fs.FS  // the log itself, at least as large as the pack's checkpoint; nil: the pack's part of it is all there is
	Progress    func(done, total uint64)
}

// Verify checks a pack: each file against the manifest, each entry against the signed root, and the whole against what follows from the
// entries, by making it again. It needs no server and nothing but the pack and the key. What is wrong is in the Verdict; an error means
// that it could not be checked.
func Verify(ctx context.Context, cfg VerifyConfig) (Verdict, error) {
	var v Verdict
	wrong := func(code, path, format string, args ...any) {
		v.Problems = append(v.Problems, Problem{code, path, fmt.Sprintf(format, args...)})
	}
	raw, err := fs.ReadFile(cfg.Pack, "manifest.json")
	if err != nil {
		return v, fmt.Errorf("reading the manifest: %w", err)
	}
	if v.Manifest, err = parseManifest(raw); err != nil {
		wrong(CodeManifest, "manifest.json", "%v", err)
		return v, nil
	}
	m := v.Manifest
	if m.Log.VerifierKey != cfg.VerifierKey {
		wrong(CodeKeyUntrusted, "", "the pack is of a log with the key %.120q, which is not the one that is trusted", m.Log.VerifierKey)
		return v, nil
	}
	if err := v.files(ctx, cfg.Pack, wrong); err != nil {
		return v, err
	}
	inside, err := fs.Sub(cfg.Pack, "log")
	if err != nil {
		return v, err
	}
	opens, err := readDisclosed(cfg.Pack)
	if err != nil {
		return v, fmt.Errorf("reading the pack: %w", err)
	}
	texts := func(digest string) ([]byte, error) { return readText(cfg.Pack, digest) }
	again := Config{Settings: m.Settings, Log: inside, VerifierKey: cfg.VerifierKey, Texts: texts, Progress: cfg.Progress,
		Directory: func() (io.ReadCloser, error) { return cfg.Pack.Open(listingName) }}
	if err := v.remake(ctx, again, opens, extent{true, m.Log.First, m.Log.Next}, CodeLogUnproven, CodeDiffers, wrong); err != nil {
		return v, err
	}
	if cfg.Log != nil {
		v.FromLog = true
		again.Log = atCheckpoint{cfg.Log, inside}
		if err := v.remake(ctx, again, opens, extent{}, CodeNotOfLog, CodeLogDiffers, wrong); err != nil {
			return v, err
		}
	}
	return v, nil
}

// atCheckpoint is a log as it was at the pack's checkpoint, with the keys that it had then.
type atCheckpoint struct{ log, pack fs.FS }

func (a atCheckpoint) Open(name string) (fs.File, error) {
	if name == "checkpoint" || name == tiles.HistoryName {
		return a.pack.Open(name)
	}
	return a.log.Open(name)
}

func parseManifest(raw []byte) (Manifest, error) {
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, err
	}
	if _, err := d.Token(); err != io.EOF {
		return m, errors.New("something follows it")
	}
	if m.Type != ManifestType || m.Version != Version {
		return m, fmt.Errorf("it is a %.40q of version %d; this build reads %s of version %d", m.Type, m.Version, ManifestType, Version)
	}
	if m.Log.First > m.Log.Next || m.Log.Next > m.Log.Size || m.Log.First%tileWidth != 0 || m.Log.Next%tileWidth != 0 && m.Log.Next != m.Log.Size {
		return m, fmt.Errorf("it states the entries %d to %d of %d", m.Log.First, m.Log.Next, m.Log.Size)
	}
	for _, f := range m.Files {
		if !fs.ValidPath(f.Path) || f.Path == "manifest.json" || f.Path == PDFName {
			return m, fmt.Errorf("it lists the path %.80q", f.Path)
		}
	}
	_, _, err := m.Settings.period()
	return m, err
}

func (v *Verdict) files(ctx context.Context, pack fs.FS, wrong func(code, path, format string, args ...any)) error {
	listed := map[string]bool{"manifest.json": true, PDFName: true}
	for _, f := range v.Manifest.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		listed[f.Path] = true
		file, err := pack.Open(f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			wrong(CodeFileMissing, f.Path, "the manifest lists it and it is not there")
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the pack: %w", err)
		}
		sum := sha256.New()
		n, err := io.Copy(sum, file)
		if err = errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("reading the pack: %w", err)
		}
		v.Files++
		v.Bytes += n
		if got := hex.EncodeToString(sum.Sum(nil)); got != f.SHA256 || n != f.Size {
			wrong(CodeFileAltered, f.Path, "it is not the file that the manifest lists")
		}
	}
	return fs.WalkDir(pack, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("reading the pack: %w", err)
		}
		if !d.IsDir() && !listed[name] {
			wrong(CodeFileExtra, name, "the manifest does not list it")
		}
		return nil
	})
}

// remake makes the pack again and compares. It runs whatever the files were found to be: their problems then have a cause.
func (v *Verdict) remake(ctx context.Context, cfg Config, opens discloser, known extent, unproven, differs string, wrong func(code, path, format string, args ...any)) error {
	p := &pack{sink: nowhere{}}
	sum, err := rebuild(ctx, cfg, known, opens, p)
	if ctxErr := ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	if err != nil {
		wrong(unproven, "", "%v", err)
		return nil
	}
	v.Entries = sum.Entries
	made := map[string]File{}
	for _, f := range p.files {
		made[f.Path] = f
	}
	for _, f := range v.Manifest.Files {
		switch again, ok := made[f.Path]; {
		case !ok:
			wrong(differs, f.Path, "the entries do not give this file")
		case again != f:
			wrong(differs, f.Path, "the entries give another file")
		}
		delete(made, f.Path)
	}
	var more []string
	for name := range made {
		if name != "manifest.json" {
			more = append(more, name)
		}
	}
	slices.Sort(more)
	for _, name := range more {
		wrong(differs, name, "the entries give this file too")
	}
	return nil
}

// readText reads a policy set from a pack; its name is its digest.
func readText(pack fs.FS, digest string) ([]byte, error) {
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != sha256.Size {
		return nil, fmt.Errorf("policy set %.80q: not a digest", digest)
	}
	raw, err := fs.ReadFile(pack, path.Join("policy/sets", digest))
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("policy set %s is not what its name says", digest)
	}
	return raw, nil
}

// Prove makes the proof bundle of one entry that a pack holds, from the pack alone.
func Prove(pack fs.FS, verifierKey string, index uint64) ([]byte, error) {
	inside, err := fs.Sub(pack, "log")
	if err != nil {
		return nil, err
	}
	log, err := openLog(inside, verifierKey)
	if err != nil {
		return nil, fmt.Errorf("proving: %w", err)
	}
	if index >= log.size() {
		return nil, fmt.Errorf("proving: %w: entry %d of a log of %d", ErrSettings, index, log.size())
	}
	entries, err := readBundle(inside, index/tileWidth, log.size())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("proving: %w: entry %d is outside the part of the log that the pack holds", ErrSettings, index)
	}
	if err != nil {
		return nil, fmt.Errorf("proving: %w", err)
	}
	return log.prove(index, entries[index%tileWidth])
}
