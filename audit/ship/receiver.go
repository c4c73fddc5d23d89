// Package ship carries the journals of gates elsewhere to the control plane, where each becomes a replica: the same entries under the same
// numbers, which the sealer reads like any journal.
//
// It owns the protocol and both of its ends. Nothing in it is on the way of a decision: the shipper reads what is durable already, at its own
// pace, and a control plane that is away only makes it wait. It refuses to know what entries say beyond whose they are.
package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// The protocol, version 1 (2026-11):
//
//	GET  /v1/journal/{gate}            → {"next":N,"last":HASH}: how many entries the replica has, and the leaf hash of the last
//	POST /v1/journal/{gate}?from=SEQ   body: records as in a journal's segment, numbered from SEQ → {"next":N}, when they are durable
//
// A batch may repeat what the replica has (at-least-once); those entries must be the same, byte for byte. Refusals are RFC 9457 problems with
// a code: gate_refused, gate_name, batch_malformed, batch_too_large, entry_foreign, journal_gap (with next), journal_rewritten,
// replica_unavailable.
const (
	// MaxBatch is the largest body in bytes.
	MaxBatch    = 8 << 20
	contentType = "application/vnd.bailiwick.journal"
)

// Codes of refusals that the shipper acts on.
const (
	codeGap       = "journal_gap"
	codeRewritten = "journal_rewritten"
)

// ReceiverConfig are the settings of a Receiver.
type ReceiverConfig struct {
	Dir string // replicas are its subdirectories, named after gates
	// Authorize says whether the request may write the journal of that gate. It is called before anything else.
	Authorize func(r *http.Request, gate string) bool
	// Alarm is called when a gate sends another past than it sent before, or entries of another gate; may be nil. It is logged besides.
	Alarm  func(ctx context.Context, gate, text string)
	Logger *slog.Logger // default discards
	Files  audit.Files  // default the operating system; for fault tests
}

// Receiver takes in journals. It is mounted at both patterns of Routes.
type Receiver struct {
	cfg      ReceiverConfig
	mu       sync.Mutex          // covers the following
	replicas map[string]*replica // by gate
	closed   bool
}

// replica is one gate's journal here.
type replica struct {
	mu      sync.Mutex // one batch at a time
	journal *audit.Journal
	dir     string
}

// Routes are the patterns at which a Receiver is mounted.
func Routes() []string { return []string{"GET /v1/journal/{gate}", "POST /v1/journal/{gate}"} }

// NewReceiver returns a Receiver. Replicas are opened when they are first written.
func NewReceiver(cfg ReceiverConfig) (*Receiver, error) {
	if cfg.Dir == "" || cfg.Authorize == nil {
		return nil, errors.New("starting receiver: it needs a directory and a way to authorize gates")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Receiver{cfg: cfg, replicas: map[string]*replica{}}, nil
}

// gateName is what a gate that ships may be called: it names a directory.
var gateName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// ServeHTTP implements http.Handler.
func (rc *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	gate := r.PathValue("gate")
	if !gateName.MatchString(gate) {
		refuse(w, http.StatusBadRequest, "gate_name", "a gate's name has 1 to 128 letters, digits, '.', '_' and '-', and begins with a letter or digit", 0)
		return
	}
	if !rc.cfg.Authorize(r, gate) {
		refuse(w, http.StatusUnauthorized, "gate_refused", "the token is not that of this gate", 0)
		return
	}
	rep, err := rc.replica(gate)
	if err != nil {
		rc.cfg.Logger.ErrorContext(r.Context(), "replica can't be opened", "gate", gate, "error", err)
		refuse(w, http.StatusServiceUnavailable, "replica_unavailable", "the replica can't be opened; try again", 0)
		return
	}
	rep.mu.Lock()
	defer rep.mu.Unlock()
	if r.Method == http.MethodPost {
		rc.take(w, r, gate, rep)
		return
	}
	last, err := rep.last()
	if err != nil {
		rc.cfg.Logger.ErrorContext(r.Context(), "replica can't be read", "gate", gate, "error", err)
		refuse(w, http.StatusServiceUnavailable, "replica_unavailable", "the replica can't be read; try again", 0)
		return
	}
	answer(w, position{Next: rep.journal.Next(), Last: last})
}

// position is how far a replica is.
type position struct {
	Next uint64    `json:"next"`
	Last tlog.Hash `json:"last,omitzero"` // leaf hash of entry Next-1
}

// take appends a batch. It answers when every entry is durable; a crash before the answer leaves some of them, which the shipper sends again.
func (rc *Receiver) take(w http.ResponseWriter, r *http.Request, gate string, rep *replica) {
	from, err := strconv.ParseUint(r.URL.Query().Get("from"), 10, 56)
	if err != nil {
		refuse(w, http.StatusBadRequest, "batch_malformed", "the parameter from is not a sequence number", 0)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBatch))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		refuse(w, http.StatusRequestEntityTooLarge, "batch_too_large", fmt.Sprintf("a batch has at most %d bytes", MaxBatch), 0)
		return
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "batch_malformed", "the batch ends early", 0)
		return
	}
	entries, err := audit.ReadRecords(body, from)
	if err != nil {
		refuse(w, http.StatusBadRequest, "batch_malformed", err.Error(), 0)
		return
	}
	next := rep.journal.Next()
	if from > next {
		refuse(w, http.StatusConflict, codeGap, fmt.Sprintf("the batch begins at entry %d, the replica has %d", from, next), next)
		return
	}
	known := min(uint64(len(entries)), next-from)
	if seq, err := rep.differs(from, entries[:known]); err != nil {
		rc.cfg.Logger.ErrorContext(r.Context(), "replica can't be read", "gate", gate, "error", err)
		refuse(w, http.StatusServiceUnavailable, "replica_unavailable", "the replica can't be read; try again", 0)
		return
	} else if seq >= 0 {
		rc.alarm(r.Context(), gate, fmt.Sprintf("gate %q sent another entry %d than before: its journal was rewritten, rolled back, or another gate has its name", gate, seq))
		refuse(w, http.StatusConflict, codeRewritten, fmt.Sprintf("entry %d is another one than was sent before", seq), next)
		return
	}
	fresh := entries[known:]
	for i, raw := range fresh {
		e, err := audit.ParseEntry(raw)
		if err != nil {
			refuse(w, http.StatusUnprocessableEntity, "batch_malformed", fmt.Sprintf("entry %d: %v", next+uint64(i), err), 0)
			return
		}
		if e.Gate != gate && (e.Kind != audit.KindLost || e.Gate != "") {
			rc.alarm(r.Context(), gate, fmt.Sprintf("gate %q sent entry %d in the name of gate %q", gate, next+uint64(i), e.Gate))
			refuse(w, http.StatusUnprocessableEntity, "entry_foreign", fmt.Sprintf("entry %d is of gate %q", next+uint64(i), e.Gate), 0)
			return
		}
	}
	// The context is not the request's: a shipper that went away must not leave the count unknown.
	if _, err := rep.journal.AppendRaw(context.WithoutCancel(r.Context()), fresh); err != nil {
		rc.cfg.Logger.ErrorContext(r.Context(), "replica can't be written", "gate", gate, "error", err)
		refuse(w, http.StatusServiceUnavailable, "replica_unavailable", "the replica can't be written; try again", 0)
		return
	}
	answer(w, position{Next: rep.journal.Next()})
}

func (rc *Receiver) alarm(ctx context.Context, gate, text string) {
	rc.cfg.Logger.ErrorContext(ctx, "a gate's journal is not what it was", "gate", gate, "detail", text)
	if rc.cfg.Alarm != nil {
		rc.cfg.Alarm(ctx, gate, text)
	}
}

// replica returns a gate's journal, opening it when it is not.
func (rc *Receiver) replica(gate string) (*replica, error) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.closed {
		return nil, audit.ErrClosed
	}
	if rep := rc.replicas[gate]; rep != nil {
		return rep, nil
	}
	dir := filepath.Join(rc.cfg.Dir, gate)
	j, err := audit.OpenJournal(audit.JournalConfig{Dir: dir, Logger: rc.cfg.Logger, Files: rc.cfg.Files})
	if err != nil {
		return nil, err
	}
	rep := &replica{journal: j, dir: dir}
	rc.replicas[gate] = rep
	return rep, nil
}

// last returns the leaf hash of the last entry; zero when there is none.
func (rep *replica) last() (tlog.Hash, error) {
	next := rep.journal.Next()
	first, _, err := audit.First(rep.dir)
	if err != nil || next == 0 || first >= next {
		return tlog.Hash{}, err
	}
	r, err := audit.OpenReader(rep.dir, next-1)
	if err != nil {
		return tlog.Hash{}, err
	}
	defer func() { _ = r.Close() }()
	_, raw, err := r.Next()
	if err != nil {
		return tlog.Hash{}, err
	}
	return tlog.RecordHash(raw), nil
}

// differs returns the number of the first of the entries, which the replica has or had, that is another one here; -1 when none is.
func (rep *replica) differs(from uint64, entries [][]byte) (int64, error) {
	first, _, err := audit.First(rep.dir)
	if err != nil {
		return 0, err
	}
	if from < first { // what is pruned here was compared when it came
		entries = entries[min(uint64(len(entries)), first-from):]
		from = first
	}
	if len(entries) == 0 {
		return -1, nil
	}
	r, err := audit.OpenReader(rep.dir, from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	for _, want := range entries {
		seq, raw, err := r.Next()
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(raw, want) {
			return int64(seq), nil
		}
	}
	return -1, nil
}

// Close closes the replicas.
func (rc *Receiver) Close() error {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.closed = true
	var errs []error
	for _, rep := range rc.replicas {
		rep.mu.Lock()
		errs = append(errs, rep.journal.Close())
		rep.mu.Unlock()
	}
	return errors.Join(errs...)
}

// problem is a refusal (RFC 9457).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Next   uint64 `json:"next"` // with journal_gap and journal_rewritten: how many entries the replica has
}

func refuse(w http.ResponseWriter, status int, code, detail string, next uint64) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{Title: http.StatusText(status), Status: status, Detail: detail, Code: code, Next: next})
}

func answer(w http.ResponseWriter, p position) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(p)
}
