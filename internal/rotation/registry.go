package rotation

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
	"github.com/bailiwick-dev/bailiwick/internal/database"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// RegistryConfig are the settings of a Registry.
type RegistryConfig struct {
	DSN string // SQLite file, or a postgres:// URL; required
	// Expected tells which verifiers there should be besides those that have reported, and when each was last heard: the gates that follow the
	// feed. Default none.
	Expected func(ctx context.Context) (map[string]time.Time, error)
	Clock    func() time.Time // default time.Now
	Logger   *slog.Logger     // default discards
}

const (
	reportEvery  = 15 * time.Second // how often verifiers report
	reportHurry  = 1 * time.Second  // while somebody waits for them
	keepEvery    = 10 * time.Second // how often a report that is like the last is written down
	expectedKeep = 24 * time.Hour   // a gate that was not heard for longer, and never reported, is not waited for
	maxVerifiers = 10_000
)

// Registry knows the verifiers of tokens: gates, and the control plane itself. One that has reported once is waited for until it is forgotten by
// an operator: uncertain is not rotated.
type Registry struct {
	cfg RegistryConfig
	db  *sql.DB

	mu     sync.Mutex
	local  map[string]standing.Keys // verifiers in this process
	seen   map[string]Verifier      // by name; guarded like the rest by mu
	kept   map[string]time.Time     // when each was written down
	expect map[string][]string      // issuer → key ids that verifiers are told of
	hurry  int                      // how many wait for reports
}

// Verifier is one of them as it last reported.
type Verifier struct {
	Name    string                  `json:"name"`
	At      time.Time               `json:"at"` // when it was last heard, by the control plane's clock
	Issuers []identity.IssuerStatus `json:"issuers"`
}

// Lag is a verifier that a rotation waits for, and why.
type Lag struct {
	Verifier string `json:"verifier"`
	Why      string `json:"why"`
}

var tables = []string{
	`CREATE TABLE IF NOT EXISTS rotation_verifiers (name TEXT PRIMARY KEY, raw TEXT NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS rotation_forgotten (name TEXT PRIMARY KEY, at BIGINT NOT NULL)`,
}

// OpenRegistry opens the register and reads who is on it.
func OpenRegistry(ctx context.Context, cfg RegistryConfig) (*Registry, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registry{cfg: cfg, local: map[string]standing.Keys{}, seen: map[string]Verifier{}, kept: map[string]time.Time{}, expect: map[string][]string{}}
	var err error
	if r.db, err = database.Open(cfg.DSN, "busy_timeout(10000)"); err != nil {
		return nil, fmt.Errorf("opening the register of verifiers: %w", err)
	}
	if err := r.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the register of verifiers: %w", err), r.db.Close())
	}
	return r, nil
}

func (r *Registry) load(ctx context.Context) error {
	for _, t := range tables {
		if _, err := r.db.ExecContext(ctx, t); err != nil {
			return err
		}
	}
	rows, err := r.db.QueryContext(ctx, `SELECT raw FROM rotation_verifiers`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var raw string
		var v Verifier
		if err := rows.Scan(&raw); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(raw), &v); err != nil {
			return fmt.Errorf("reading a verifier: %w", err)
		}
		r.seen[v.Name] = v
	}
	return rows.Err()
}

// Close releases the database.
func (r *Registry) Close() error { return r.db.Close() }

// Local adds a verifier of this process, which is asked and not waited for.
func (r *Registry) Local(name string, keys standing.Keys) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.local[name] = keys
}

// Take notes a report and says what to answer.
func (r *Registry) Take(ctx context.Context, report standing.KeyReport) (standing.KeyAnswer, error) {
	now := r.cfg.Clock().UTC()
	v := Verifier{Name: report.Verifier, At: now, Issuers: report.Issuers}
	r.mu.Lock()
	_, known := r.seen[v.Name]
	if !known && len(r.seen) >= maxVerifiers {
		r.mu.Unlock()
		return standing.KeyAnswer{}, &Fault{Code: "too_many_verifiers", Detail: fmt.Sprintf("%d verifiers are registered", maxVerifiers), Next: "bailiwick keys forget those that are gone"}
	}
	write := !known || now.Sub(r.kept[v.Name]) >= keepEvery
	r.mu.Unlock()
	if write { // before it counts: a verifier that was told of is waited for after a restart too
		raw, err := json.Marshal(v)
		if err == nil {
			_, err = r.db.ExecContext(ctx, `INSERT INTO rotation_verifiers (name, raw) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET raw = excluded.raw`, v.Name, string(raw))
		}
		if err != nil {
			return standing.KeyAnswer{}, fmt.Errorf("keeping a verifier's report: %w", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[v.Name] = v
	if write {
		r.kept[v.Name] = now
	}
	every := reportEvery
	if r.hurry > 0 {
		every = reportHurry
	}
	return standing.KeyAnswer{Version: standing.KeyReportVersion, Seconds: int(every / time.Second), Expect: maps.Clone(r.expect)}, nil
}

// Forget takes a verifier off the register. One that lives is back with its next report.
func (r *Registry) Forget(ctx context.Context, name string) error {
	known, err := r.All(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(known, func(v Verifier) bool { return v.Name == name }) {
		return &Fault{Code: "verifier_unknown", Detail: fmt.Sprintf("no verifier %.80q is registered", name), Next: "bailiwick keys status lists them"}
	}
	err = database.Write(ctx, r.db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM rotation_verifiers WHERE name = $1`, name); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO rotation_forgotten (name, at) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET at = excluded.at`, name, r.cfg.Clock().UnixNano())
		return err
	})
	if err != nil {
		return fmt.Errorf("forgetting a verifier: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, name)
	delete(r.kept, name)
	return nil
}

// Expect names the keys of an issuer that verifiers fetch ahead of any token, and about which they count what they refuse.
func (r *Registry) Expect(issuer string, kids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expect[issuer] = slices.Clone(kids)
	for _, keys := range r.local {
		keys.Expect(issuer, kids)
	}
}

// Hurry lets verifiers report quickly until stop.
func (r *Registry) Hurry() (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hurry++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hurry--
	})
}

// All lists the verifiers by name: those that reported, those of this process as they are now, and those that never reported and should have, whose
// Issuers is nil.
func (r *Registry) All(ctx context.Context) ([]Verifier, error) {
	expected, err := r.expected(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := maps.Clone(r.seen)
	for name, at := range expected {
		if _, reported := all[name]; !reported {
			all[name] = Verifier{Name: name, At: at}
		}
	}
	for name, keys := range r.local {
		all[name] = Verifier{Name: name, At: r.cfg.Clock().UTC(), Issuers: keys.Status()}
		for issuer, kids := range r.expect {
			keys.Expect(issuer, kids) // it fetches what is missing, at most once in a while
		}
	}
	out := make([]Verifier, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[name])
	}
	return out, nil
}

// expected are the verifiers that should report: heard lately elsewhere, and not forgotten since.
func (r *Registry) expected(ctx context.Context) (map[string]time.Time, error) {
	if r.cfg.Expected == nil {
		return nil, nil
	}
	all, err := r.cfg.Expected(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking which verifiers there are: %w", err)
	}
	rows, err := r.db.QueryContext(ctx, `SELECT name, at FROM rotation_forgotten`)
	if err != nil {
		return nil, fmt.Errorf("reading which verifiers were forgotten: %w", err)
	}
	defer rows.Close()
	out := maps.Clone(all)
	maps.DeleteFunc(out, func(_ string, heard time.Time) bool { return r.cfg.Clock().Sub(heard) > expectedKeep })
	for rows.Next() {
		var name string
		var at int64
		if err := rows.Scan(&name, &at); err != nil {
			return nil, fmt.Errorf("reading which verifiers were forgotten: %w", err)
		}
		if heard, is := out[name]; is && !heard.After(time.Unix(0, at)) {
			delete(out, name)
		}
	}
	return out, rows.Err()
}
