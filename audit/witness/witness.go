package witness

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// Config are the settings of a witness.
type Config struct {
	Dir    string       // of its state: for each log the last checkpoint signed; created (0700) when absent, one witness at a time
	Signer *Signer      // its key
	Logs   []string     // verifier keys of the logs that it watches; a key's name is the log's origin
	Logger *slog.Logger // default discards
	// Write makes a file durable; default durable.WriteFile. For fault tests.
	Write func(path string, data []byte, perm os.FileMode) error
}

// Witness is an http.Handler for POST /add-checkpoint.
type Witness struct {
	cfg    Config
	unlock func() error
	mu     sync.Mutex // one request at a time; covers logs
	logs   map[string]*watched
}

// watched is a log that a witness watches.
type watched struct {
	verifiers []note.Verifier
	path      string
	last      Checkpoint // the last one signed, as the disk has it
	unsure    bool       // a write failed: the disk may have a later one
}

// New opens a witness.
func New(cfg Config) (*Witness, error) {
	if cfg.Dir == "" || cfg.Signer == nil || len(cfg.Logs) == 0 {
		return nil, errors.New("starting witness: it needs a directory, a key and the verifier key of a log")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Write == nil {
		cfg.Write = durable.WriteFile
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("starting witness: %w", err)
	}
	w := &Witness{cfg: cfg, logs: map[string]*watched{}}
	for _, key := range cfg.Logs {
		v, err := note.NewVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("starting witness: a log's key must have the form ORIGIN+HASH+KEY: %w", err)
		}
		l := w.logs[v.Name()]
		if l == nil {
			l = &watched{path: filepath.Join(cfg.Dir, fmt.Sprintf("%x", sha256.Sum256([]byte(v.Name()))))}
			w.logs[v.Name()] = l
		}
		l.verifiers = append(l.verifiers, v)
	}
	unlock, err := durable.Lock(filepath.Join(cfg.Dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("starting witness: another one uses %s: two with one key could sign two histories: %w", cfg.Dir, err)
	}
	w.unlock = unlock
	for origin, l := range w.logs {
		if err := l.load(origin); err != nil {
			return nil, errors.Join(fmt.Errorf("starting witness: %w", err), unlock())
		}
	}
	return w, nil
}

// load reads what was signed last. A state that can't be read stops the witness: without it, it could sign a fork.
func (l *watched) load(origin string) error {
	raw, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		l.last = Checkpoint{Origin: origin, Root: sha256.Sum256(nil)}
		l.unsure = false
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the state of %s: %w", origin, err)
	}
	c, err := ParseCheckpoint(string(raw))
	if err != nil || c.Origin != origin {
		return fmt.Errorf("reading the state of %s: %s is damaged: restore it, or retire this witness's key", origin, l.path)
	}
	l.last, l.unsure = c, false
	return nil
}

// maxBody is more than the largest proof with a checkpoint of many cosignatures.
const maxBody = 64 << 10

// ServeHTTP implements http.Handler.
func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/add-checkpoint") {
		http.NotFound(rw, r)
		return
	}
	if r.Method != http.MethodPost {
		rw.Header().Set("Allow", http.MethodPost)
		http.Error(rw, "POST is needed", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		http.Error(rw, "the request is too large, or ends early", http.StatusBadRequest)
		return
	}
	req, err := parseRequest(body)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	sig, refusal := w.add(r, req)
	if refusal != nil {
		refusal.write(rw)
		return
	}
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = rw.Write(sig)
}

// refusal is why a checkpoint is not signed, with the status that the specification gives it.
type refusal struct {
	status int
	text   string
	size   uint64 // with 409: what the witness has
}

func (r *refusal) write(rw http.ResponseWriter) {
	if r.status == http.StatusConflict {
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(r.status)
		fmt.Fprintf(rw, "%d\n", r.size)
		return
	}
	http.Error(rw, r.text, r.status)
}

// add checks a checkpoint, makes it the last one, durably, and signs it. A crash before the write leaves nothing; after it, a checkpoint
// that counts as signed and whose signature nobody has: the log asks again.
func (w *Witness) add(r *http.Request, req request) ([]byte, *refusal) {
	origin, _, _ := strings.Cut(string(req.note), "\n")
	l := w.logs[origin]
	if l == nil {
		return nil, &refusal{status: http.StatusNotFound, text: "this log is not watched here"}
	}
	if l.unsure {
		if err := l.load(origin); err != nil {
			w.cfg.Logger.ErrorContext(r.Context(), "witness's state can't be read", "log", origin, "error", err)
			return nil, &refusal{status: http.StatusInternalServerError, text: "the witness's state can't be read"}
		}
	}
	n, err := note.Open(req.note, note.VerifierList(l.verifiers...))
	if err != nil {
		return nil, &refusal{status: http.StatusForbidden, text: "the checkpoint is not signed by a key of this log"}
	}
	c, err := ParseCheckpoint(n.Text)
	switch {
	case err != nil:
		return nil, &refusal{status: http.StatusBadRequest, text: err.Error()}
	case req.old > c.Size:
		return nil, &refusal{status: http.StatusBadRequest, text: "the old size is larger than the checkpoint's"}
	case req.old != l.last.Size:
		return nil, &refusal{status: http.StatusConflict, size: l.last.Size}
	case (req.old == 0 || req.old == c.Size) && len(req.proof) > 0:
		return nil, &refusal{status: http.StatusUnprocessableEntity, text: "there is nothing to prove, and the proof is not empty"}
	case req.old == c.Size && c.Root != l.last.Root:
		w.cfg.Logger.ErrorContext(r.Context(), "a log shows two histories", "log", origin, "size", c.Size, "had", l.last.Root.String(), "got", c.Root.String())
		return nil, &refusal{status: http.StatusConflict, size: l.last.Size}
	case req.old != 0 && req.old != c.Size && tlog.CheckTree(req.proof, int64(c.Size), c.Root, int64(req.old), l.last.Root) != nil:
		w.cfg.Logger.ErrorContext(r.Context(), "a log's checkpoint does not extend the last one", "log", origin, "had", l.last.Size, "got", c.Size)
		return nil, &refusal{status: http.StatusUnprocessableEntity, text: "the proof does not lead from the last checkpoint to this one"}
	}
	if c != l.last {
		if err := w.cfg.Write(l.path, []byte(n.Text), 0o600); err != nil {
			l.unsure = true
			w.cfg.Logger.ErrorContext(r.Context(), "witness's state can't be written", "log", origin, "error", err)
			return nil, &refusal{status: http.StatusInternalServerError, text: "the witness's state can't be written"}
		}
		l.last = c
	}
	own, err := note.Sign(&note.Note{Text: n.Text}, w.cfg.Signer)
	if err != nil {
		return nil, &refusal{status: http.StatusInternalServerError, text: "signing failed"}
	}
	return own[len(n.Text)+1:], nil
}

// Close gives the state's directory free.
func (w *Witness) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs = map[string]*watched{}
	return w.unlock()
}
