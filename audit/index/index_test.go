package index

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/internal/database/pgtest"
	"github.com/bailiwick-dev/bailiwick/policy"
)

var epoch = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// generated makes entry i of a log of some hundred people, agents, workers and workflows; the same each time.
func generated(i int) audit.Entry {
	r := rand.New(rand.NewPCG(uint64(i), 42))
	person := r.IntN(100)
	e := audit.Entry{
		Version: 1, ID: fmt.Sprintf("0193%08x-0000-7000-8000-%012x", i, r.Uint64N(1<<48)), Kind: audit.KindDecision, Gate: "gate-" + string(rune('a'+r.IntN(3))),
		Time: epoch.Add(time.Duration(i)*time.Second + time.Duration(r.IntN(5000)-2500)*time.Millisecond), // clocks of several gates
		Actor: audit.Party{Principal: fmt.Sprintf("user:https://acme.okta.com|00u%05d", person), Login: fmt.Sprintf("person%d@acme.example", person), ClientID: "0oacli",
			Groups: []string{"Everyone", fmt.Sprintf("temporal:ns%d:write", person%7)}, TokenID: fmt.Sprintf("AT.%d.%d", person, i/3600)},
		Source:        fmt.Sprintf("10.0.%d.%d", person, r.IntN(4)),
		RequestDigest: fmt.Sprintf("%064x", i),
	}
	d := &policy.Decision{Allow: true, Code: policy.CodeAllowed, Policies: []string{"write-role"}, PolicyDigest: fmt.Sprintf("%064x", i/50_000)}
	e.Decision = d
	e.Resource.Namespace = fmt.Sprintf("ns%d", person%7)
	switch r.IntN(10) {
	case 0, 1, 2, 3, 4: // what workers do
		worker := fmt.Sprintf("worker%d", person%10)
		e.Actor = audit.Party{Principal: "client:https://acme.okta.com|" + worker, Login: worker, ClientID: worker, TokenID: fmt.Sprintf("AT.w%d.%d", person%10, i/3600)}
		e.Action, e.Access, e.Resource.TaskQueue = "PollWorkflowTaskQueue", "work", "main"
		d.Policies = []string{"worker-role"}
	case 5, 6:
		e.Action, e.Access = "DescribeWorkflowExecution", "read"
		e.Resource.WorkflowID, e.Resource.RunID = fmt.Sprintf("order-%d", r.IntN(i/20+1)), fmt.Sprintf("run-%d", r.IntN(i/20+1))
		d.Policies = []string{"read-role"}
	case 7:
		e.Action, e.Access, e.Resource.WorkflowType = "StartWorkflowExecution", "operate", "order"
		e.Resource.WorkflowID = fmt.Sprintf("order-%d", i/20)
		e.Reason = fmt.Sprintf("CHG-%d: Ship the order, für Ümit", i%1000)
	case 8:
		e.Action, e.Access, e.Resource.Signal = "SignalWorkflowExecution", "operate", "approve"
		e.Resource.WorkflowID = fmt.Sprintf("order-%d", r.IntN(i/20+1))
		e.Actor.Actors = []string{fmt.Sprintf("agent%d", person%3)}
		e.Grant = fmt.Sprintf("grant-%d", i%500)
		d.Policies = []string{"agents", "write-role"}
	case 9:
		e.Action, e.Access = "TerminateWorkflowExecution", "operate"
		e.Resource.WorkflowID = fmt.Sprintf("order-%d", r.IntN(i/20+1))
		*d = policy.Decision{Code: policy.CodeNoPermission, Missing: "admin", PolicyDigest: d.PolicyDigest}
		if person == 13 {
			*d = policy.Decision{Code: policy.CodeForbidden, Policies: []string{"freeze"}, PolicyDigest: d.PolicyDigest}
			e.Acts = []audit.Act{{Action: "SignalWorkflowExecution", Resource: policy.Resource{Namespace: "other", WorkflowID: "second"}}}
		}
	}
	if i%5000 == 0 {
		e = audit.Entry{Version: 1, ID: e.ID, Time: e.Time, Kind: audit.KindGate, Gate: "gate-a", Actor: audit.Party{Principal: "gate:gate-a"},
			Detail: map[string]string{"event": "started", "attestation_key": fmt.Sprintf("key-%d", i/10_000), "policy_digest": fmt.Sprintf("%064x", i/50_000)}}
	}
	return e
}

// log is a source of generated entries, some of which may be replaced.
type log struct {
	mu    sync.Mutex
	size  int
	raws  map[int][]byte // instead of the generated ones
	fails int            // index at which reading fails; 0: never

	forgetful bool // makes each entry anew: for logs larger than memory
}

func (l *log) record(i int) Record {
	if raw, there := l.raws[i]; there {
		r := Record{Index: uint64(i), Raw: raw}
		if e, err := audit.ParseEntry(raw); err == nil {
			r.Entry = e
		}
		return r
	}
	if made, there := records.Load(i); there && !l.forgetful {
		return made.(Record)
	}
	e := generated(i)
	raw, err := e.Marshal()
	if err != nil {
		panic(err)
	}
	r := Record{Index: uint64(i), Raw: raw, Entry: e}
	if !l.forgetful {
		records.Store(i, r)
	}
	return r
}

var records sync.Map // of generated entries: making them takes longer than indexing them

func (l *log) source(ctx context.Context, from uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		l.mu.Lock()
		size := l.size
		l.mu.Unlock()
		for i := int(from); i < size; i++ {
			if err := ctx.Err(); err != nil {
				yield(Record{}, err)
				return
			}
			if i == l.fails && i > 0 {
				yield(Record{}, errors.New("the disk is gone"))
				return
			}
			if !yield(l.record(i), nil) {
				return
			}
		}
	}
}

func opened(t testing.TB, dsn string) *Index {
	t.Helper()
	x, err := Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func synced(t testing.TB, x *Index, l *log, want int) {
	t.Helper()
	n, err := x.Sync(t.Context(), l.source)
	if err != nil || n != uint64(want) {
		t.Fatalf("synced %d, want %d: %v", n, want, err)
	}
}

// Both databases pass one suite.
func TestSQLite(t *testing.T) {
	conformance(t, func(t *testing.T) string { return filepath.Join(t.TempDir(), "index.db") })
}

func TestPostgres(t *testing.T) {
	server := pgtest.Start(t)
	conformance(t, server.Database)
}

func conformance(t *testing.T, fresh func(*testing.T) string) {
	t.Run("Query", func(t *testing.T) { testQuery(t, fresh(t)) })
	t.Run("Sync", func(t *testing.T) { testSync(t, fresh(t)) })
	t.Run("Verify", func(t *testing.T) { testVerify(t, fresh(t)) })
	t.Run("Concurrent", func(t *testing.T) { testConcurrent(t, fresh(t)) })
	t.Run("Hostile", func(t *testing.T) { testHostile(t, fresh(t)) })
	t.Run("Version", func(t *testing.T) { testVersion(t, fresh(t)) })
	t.Run("Scattered", func(t *testing.T) { testScattered(t, fresh(t)) })
	t.Run("Plans", func(t *testing.T) { testPlans(t, fresh(t)) })
}

func yes(b bool) *bool { return &b }

// matches says by the entry alone whether a filter finds it: what the index must agree with.
func matches(e audit.Entry, f Filter) bool {
	has := func(wanted []string, have ...string) bool {
		if len(wanted) == 0 {
			return true
		}
		for _, w := range wanted {
			for _, h := range have {
				if prefix, is := strings.CutSuffix(w, "*"); h != "" && (h == w || is && strings.HasPrefix(h, prefix)) {
					return true
				}
			}
		}
		return false
	}
	resources := []policy.Resource{e.Resource}
	actions := []string{e.Action}
	for _, a := range e.Acts {
		resources, actions = append(resources, a.Resource), append(actions, a.Action)
	}
	each := func(get func(policy.Resource) string) (all []string) {
		for _, r := range resources {
			all = append(all, get(r))
		}
		return all
	}
	var d policy.Decision
	if e.Decision != nil {
		d = *e.Decision
	}
	for _, w := range words(f.Reason) {
		if !slices.Contains(words(e.Reason), w) {
			return false
		}
	}
	return has(f.Actor, append([]string{e.Actor.Principal, e.Actor.Login}, e.Actor.Actors...)...) &&
		has(f.Originator, e.Actor.Principal, e.Actor.Login) && has(f.Agent, e.Actor.Actors...) && has(f.Client, e.Actor.ClientID) &&
		has(f.Group, e.Actor.Groups...) && has(f.Namespace, each(func(r policy.Resource) string { return r.Namespace })...) &&
		has(f.Workflow, each(func(r policy.Resource) string { return r.WorkflowID })...) &&
		has(f.WorkflowType, e.Resource.WorkflowType) && has(f.Run, e.Resource.RunID) && has(f.TaskQueue, e.Resource.TaskQueue) &&
		has(f.Name, e.Resource.Signal) && has(f.Action, actions...) && has(f.Access, e.Access) &&
		!(len(f.NotAccess) > 0 && slices.Contains(f.NotAccess, e.Access)) &&
		(f.Allow == nil || e.Decision != nil && d.Allow == *f.Allow) && has(f.Code, string(d.Code)) && has(f.Policy, d.Policies...) &&
		has(f.Grant, e.Grant) && has(f.Source, e.Source) && has(f.Token, e.Actor.TokenID) && has(f.Gate, e.Gate) &&
		has(f.KeyUse, e.Detail["attestation_key"]) && has(f.ID, e.ID) && (len(f.Kind) == 0 || slices.Contains(f.Kind, e.Kind)) &&
		(f.From.IsZero() || !e.Time.Before(f.From)) && (f.To.IsZero() || e.Time.Before(f.To))
}

func testQuery(t *testing.T, dsn string) {
	x := opened(t, dsn)
	x.window = 1 // so that three blocks take two looks
	const size = 2*blockSize + 500
	l := &log{size: size, raws: map[int][]byte{}}
	entries := make([]audit.Entry, size)
	for i := range entries {
		entries[i] = generated(i)
		switch {
		case i%700 == 13: // a gate whose clock is hours behind, or ahead: the blocks' times overlap, and what is in a range is not in one piece
			entries[i].Time = entries[i].Time.Add(time.Duration(i%3-1) * 3 * time.Hour)
		case i%300 == 17: // what an agent is refused
			entries[i].Actor.Actors = []string{"agent1"}
			entries[i].Decision = &policy.Decision{Code: policy.CodeForbidden, PolicyDigest: fmt.Sprintf("%064x", i/50_000)}
		case i == 40 || i == blockSize+40: // what is rare, and far back
			entries[i].Resource.WorkflowID = "rare"
		default:
			continue
		}
		raw, err := entries[i].Marshal()
		if err != nil {
			t.Fatal(err)
		}
		l.raws[i] = raw
	}
	synced(t, x, l, size)
	at := func(i int) time.Time { return epoch.Add(time.Duration(i) * time.Second) }
	one := entries[15_001]
	filters := map[string]Filter{
		"nothing":             {},
		"login":               {Actor: []string{"person13@acme.example"}},
		"principal":           {Actor: []string{"user:https://acme.okta.com|00u00013"}},
		"agent as actor":      {Actor: []string{"agent1"}},
		"agent":               {Agent: []string{"agent1", "agent2"}},
		"agent is no origin":  {Originator: []string{"agent1"}},
		"originator's agents": {Originator: []string{"person4@acme.example"}, Agent: []string{"*"}},
		"client":              {Client: []string{"worker3"}},
		"group":               {Group: []string{"temporal:ns3:write"}, Access: []string{"operate"}},
		"namespace":           {Namespace: []string{"ns3"}, Allow: yes(false)},
		"namespace of an act": {Namespace: []string{"other"}},
		"action of an act":    {Action: []string{"SignalWorkflowExecution"}, Code: []string{"forbidden"}},
		"workflow":            {Workflow: []string{"order-1"}},
		"workflow of an act":  {Workflow: []string{"second"}},
		"workflow prefix":     {Workflow: []string{"order-17*"}},
		"type":                {WorkflowType: []string{"order"}, Limit: 5},
		"run":                 {Run: []string{"run-5"}},
		"task queue":          {TaskQueue: []string{"main"}, Actor: []string{"worker1"}},
		"signal":              {Name: []string{"approve"}},
		"actions":             {Action: []string{"StartWorkflowExecution", "TerminateWorkflowExecution"}},
		"access":              {Access: []string{"operate"}},
		"not access":          {NotAccess: []string{"work", "read"}},
		"not access, actor":   {NotAccess: []string{"work", "read"}, Actor: []string{"person13@acme.example"}},
		"allowed":             {Allow: yes(true), Limit: 10_000},
		"denied":              {Allow: yes(false)},
		"denied person":       {Actor: []string{"person13@acme.example"}, Allow: yes(false)},
		"denied principal":    {Originator: []string{"user:https://acme.okta.com|00u00013"}, Allow: yes(false), Action: []string{"TerminateWorkflowExecution"}},
		"denied people":       {Actor: []string{"person1*"}, Allow: yes(false), NotAccess: []string{"work"}},
		"denied agent":        {Agent: []string{"agent1"}, Allow: yes(false)},
		"denied agent, actor": {Actor: []string{"agent1", "person13@acme.example"}, Allow: yes(false)},
		"denied agent of":     {Actor: []string{"agent1"}, Originator: []string{"person*"}, Agent: []string{"agent*"}, Allow: yes(false)},
		"denied, no origin":   {Originator: []string{"agent1"}, Allow: yes(false)},
		"allowed person":      {Actor: []string{"person13@acme.example"}, Allow: yes(true)},
		"code":                {Code: []string{"forbidden"}},
		"policy":              {Policy: []string{"agents"}},
		"asterisk inside":     {Policy: []string{"*-role"}}, // it is itself there
		"policies":            {Policy: []string{"freeze", "agents"}},
		"grant":               {Grant: []string{"grant-8"}},
		"source":              {Source: []string{"10.0.13.*"}},
		"token":               {Token: []string{"AT.13.3"}},
		"kind":                {Kind: []audit.Kind{audit.KindGate}},
		"gate":                {Gate: []string{"gate-b"}, Action: []string{"StartWorkflowExecution"}},
		"key use":             {KeyUse: []string{"key-1"}},
		"id":                  {ID: []string{one.ID}},
		"id prefix":           {ID: []string{one.ID[:10] + "*"}},
		"id and actor":        {ID: []string{one.ID}, Actor: []string{one.Actor.Login}},
		"id and other actor":  {ID: []string{one.ID}, Actor: []string{"nobody"}},
		"id and time":         {ID: []string{one.ID}, To: one.Time},
		"reason":              {Reason: "chg-17"},
		"reason, any order":   {Reason: "ÜMIT für ship"},
		"reason, no such":     {Reason: "ship nothing"},
		"from":                {From: at(size - 50)},
		"to":                  {To: at(50)},
		"a minute":            {From: at(blockSize - 30), To: at(blockSize + 30)},
		"a minute of denials": {From: at(15_000), To: at(15_300), Allow: yes(false)},
		"far back":            {Workflow: []string{"rare"}, Kind: []audit.Kind{audit.KindDecision}},
		"far back, in time":   {Workflow: []string{"rare"}, To: at(500)},
		"the middle":          {From: at(4000), To: at(4600)},
		"the middle, some":    {From: at(4000), To: at(12_000), Action: []string{"PollWorkflowTaskQueue", "StartWorkflowExecution"}, Gate: []string{"gate-a"}},
		"the middle, but":     {From: at(4000), To: at(4600), NotAccess: []string{"work"}},
		"an exact time":       {From: one.Time, To: one.Time.Add(1)},
		"before the log":      {To: at(-20_000)},
		"nobody":              {Actor: []string{"nobody"}},
		"nobody, agents":      {Actor: []string{"nobody"}, Agent: []string{"agent1"}},
		"all at once": {Actor: []string{"person4@acme.example"}, Agent: []string{"agent1"}, Client: []string{"0oacli"}, Namespace: []string{"ns4"}, Workflow: []string{"order-*"},
			Action: []string{"SignalWorkflowExecution"}, Access: []string{"operate"}, Allow: yes(true), Code: []string{"allowed"}, Policy: []string{"agents"}, Grant: []string{"grant-*"},
			Source: []string{"10.*"}, Token: []string{"AT.*"}, From: at(100), To: at(30_000)},
	}
	for name, f := range filters {
		var all []uint64
		for i, e := range entries {
			if matches(e, f) {
				all = append(all, uint64(i))
			}
		}
		if len(all) == 0 != (name == "agent is no origin" || name == "denied, no origin" || strings.HasPrefix(name, "nobody") || name == "id and other actor" || name == "id and time" || name == "before the log" || name == "reason, no such" || name == "asterisk inside") {
			t.Fatalf("%s: the test itself finds %d", name, len(all))
		}
		for _, oldest := range []bool{true, false} {
			if oldest && len(all) > 5000 {
				continue // nothing that the shorter answers do not show
			}
			f.Oldest = oldest
			want := slices.Clone(all)
			if !oldest {
				slices.Reverse(want)
			}
			// Everything, page by page: complete, in order, nothing twice.
			var got []uint64
			page := f
			if page.Limit == 0 {
				page.Limit = min(1+len(want)/3, maxLimit)
				if oldest && len(want) > 2000 {
					page.Limit = 500
				}
			}
			for {
				rows, next, err := x.Query(t.Context(), page)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if len(rows) > page.Limit || len(rows) < page.Limit && next != "" {
					t.Fatalf("%s: a page of %d rows, the limit is %d, next %q", name, len(rows), page.Limit, next)
				}
				for _, r := range rows {
					got = append(got, r.Index)
					if r.Entry.ID != entries[r.Index].ID {
						t.Fatalf("%s: row %d holds %s", name, r.Index, r.Entry.ID)
					}
				}
				if next == "" {
					break
				}
				page.Cursor = next
				// Many pages: enough of them. What fills thousands of rows is read to its end from the newest on, and from the oldest on for a while.
				if page.Limit == 5 && len(got) >= 50 || oldest && len(want) > 2000 && len(got) >= 1000 {
					want = want[:len(got)]
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s (oldest first: %v): found %d, want %d", name, oldest, len(got), len(want))
			}
		}
	}
	// A page stays what it was when entries come between.
	first, next, err := x.Query(t.Context(), Filter{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	l.size += 100
	synced(t, x, l, 100)
	second, _, err := x.Query(t.Context(), Filter{Limit: 10, Cursor: next})
	if err != nil || second[0].Index != first[9].Index-1 {
		t.Errorf("after %d came %d: %v", first[9].Index, second[0].Index, err)
	}

	for name, f := range map[string]Filter{
		"cursor": {Cursor: "x"}, "cursor of the other order": {Cursor: next, Oldest: true}, "negative limit": {Limit: -1}, "no word": {Reason: "--"},
		"empty value": {Actor: []string{""}}, "reversed time": {From: at(10), To: at(5)}, "too many": {Workflow: []string{"*"}, Run: []string{"*"}}, "long prefix": {Actor: []string{strings.Repeat("x", 200) + "*"}},
		"short id": {ID: []string{"*"}},
	} {
		if _, _, err := x.Query(t.Context(), f); name != "too many" && !errors.Is(err, ErrFilter) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func testSync(t *testing.T, dsn string) {
	x := opened(t, dsn)
	l := &log{}
	synced(t, x, l, 0)
	for _, n := range []int{1, 2, 3, 100, blockSize - 1, blockSize, blockSize + 1, blockSize + 500} {
		added := n - l.size
		l.size = n
		synced(t, x, l, added)
		synced(t, x, l, 0)
	}
	consistent := func(x *Index) {
		t.Helper()
		if r, err := x.Verify(t.Context(), l.source); err != nil || !r.OK() || r.Entries != uint64(l.size) || r.Unindexed != 0 {
			t.Fatalf("%+v %v", r, err)
		}
	}
	consistent(x)
	// A source that fails in the middle of a batch adds nothing of it, and the next Sync goes on.
	l.size, l.fails = blockSize+900, blockSize+700
	if n, err := x.Sync(t.Context(), l.source); err == nil || n != 0 {
		t.Errorf("%d %v", n, err)
	}
	if r, err := x.Verify(t.Context(), (&log{size: l.size}).source); err != nil || !r.OK() || r.Unindexed != 400 {
		t.Errorf("%+v %v", r, err)
	}
	l.fails = 0
	synced(t, x, l, 400)
	again := opened(t, dsn)
	synced(t, again, l, 0)
	consistent(again)

	// A log that is shorter, or another one at the end, is noticed; the index stays as it is.
	for name, other := range map[string]*log{
		"shorter": {size: l.size - 1}, "empty": {}, "another last entry": {size: l.size, raws: map[int][]byte{l.size - 1: l.record(5).Raw}},
	} {
		if _, err := x.Sync(t.Context(), other.source); !errors.Is(err, ErrDiverged) || errors.Is(err, ErrBehind) != (other.raws == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	consistent(x)
	// Made again, it is the same.
	if n, err := x.Reindex(t.Context(), l.source); err != nil || n != uint64(l.size) {
		t.Fatalf("%d %v", n, err)
	}
	consistent(x)
	if rows, _, err := again.Query(t.Context(), Filter{Actor: []string{"person13@acme.example"}, Limit: 3}); err != nil || len(rows) != 3 {
		t.Errorf("another connection after a reindex: %d %v", len(rows), err)
	}
	// A gap in the source is not passed over.
	if _, err := x.Reindex(t.Context(), func(ctx context.Context, from uint64) iter.Seq2[Record, error] {
		return func(yield func(Record, error) bool) { _ = yield(l.record(0), nil) && yield(l.record(2), nil) }
	}); err == nil {
		t.Error("a gap was indexed")
	}
}

// Whatever is altered in the index, Verify says so.
func testVerify(t *testing.T, dsn string) {
	l := &log{size: blockSize + 300}
	x := opened(t, dsn)
	synced(t, x, l, l.size)
	// A copy of the tables, so that what is altered can be put back.
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := x.db.ExecContext(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, table := range tables {
		exec(`CREATE TABLE good_` + table + ` AS SELECT * FROM ` + table)
	}
	other := l.record(8)
	otherHash := tlog.RecordHash(other.Raw)
	for _, c := range []struct {
		name string
		want Code
		sql  string
		args []any
	}{
		{"row removed", CodeEntryMissing, `DELETE FROM entries WHERE idx = 7`, nil},
		{"row replaced", CodeEntryAltered, `UPDATE entries SET raw = $1, hash = $2, id = $3 WHERE idx = 7`, []any{other.Raw, otherHash[:], other.Entry.ID}},
		{"hash", CodeEntryAltered, `UPDATE entries SET hash = $1 WHERE idx = 7`, []any{otherHash[:]}},
		{"time", CodeEntryAltered, `UPDATE entries SET time = time + 1 WHERE idx = 7`, nil},
		{"id", CodeEntryAltered, `UPDATE entries SET id = 'x' WHERE idx = 7`, nil},
		{"row added", CodeEntryExtra, `INSERT INTO entries (idx, time, id, hash, raw) SELECT idx + 100000, time, id, hash, raw FROM entries WHERE idx = 7`, nil},
		{"posting removed", CodePostingAltered, `DELETE FROM postings WHERE block = 0 AND term = (SELECT term FROM terms WHERE value = 'forbidden')`, nil},
		{"posting swapped", CodePostingAltered, `UPDATE postings SET data = (SELECT data FROM postings WHERE block = 1 AND term = (SELECT term FROM terms WHERE value = 'forbidden'))
			WHERE block = 0 AND term = (SELECT term FROM terms WHERE value = 'forbidden')`, nil},
		{"posting added", CodePostingAltered, `INSERT INTO postings (term, block, n, data) SELECT term, 99, n, data FROM postings WHERE block = 0 AND term = (SELECT term FROM terms WHERE value = 'forbidden')`, nil},
		{"term renamed", CodePostingAltered, `UPDATE terms SET value = 'allowed!' WHERE value = 'allowed'`, nil},
		{"term removed", CodePostingAltered, `DELETE FROM terms WHERE value = 'forbidden'`, nil},
		{"block", CodeBlockAltered, `UPDATE blocks SET earliest = earliest + 1 WHERE block = 1`, nil},
		{"block removed", CodeBlockAltered, `DELETE FROM blocks WHERE block = 0`, nil},
		{"block added", CodeBlockAltered, `INSERT INTO blocks (block, earliest, latest) VALUES (5, 0, 0)`, nil},
	} {
		exec(c.sql, c.args...)
		r, err := x.Verify(t.Context(), l.source)
		if err != nil || r.OK() || r.Problems[0].Code != c.want {
			t.Errorf("%s: %+v %v", c.name, r, err)
		}
		if c.name == "hash" {
			if _, _, err := x.Query(t.Context(), Filter{Limit: 10_000, Oldest: true}); err == nil || !strings.Contains(err.Error(), "altered") {
				t.Errorf("an altered row was shown: %v", err)
			}
		}
		for _, table := range strings.Fields("entries postings terms blocks") {
			exec(`DELETE FROM ` + table)
			exec(`INSERT INTO ` + table + ` SELECT * FROM good_` + table)
		}
	}
	if r, err := x.Verify(t.Context(), l.source); err != nil || !r.OK() {
		t.Errorf("%+v %v", r, err)
	}
	if r, err := x.Verify(t.Context(), (&log{size: 50}).source); err != nil || r.OK() || r.Problems[0].Code != CodeEntryExtra {
		t.Errorf("a log cut short: %+v %v", r, err)
	}
}

// Several processes sync and query at once.
func testConcurrent(t *testing.T, dsn string) {
	l := &log{size: 1}
	synced(t, opened(t, dsn), l, 1)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		x := opened(t, dsn)
		wg.Go(func() {
			for {
				if _, err := x.Sync(t.Context(), l.source); err != nil {
					t.Error(err)
					return
				}
				if _, _, err := x.Query(t.Context(), Filter{Actor: []string{"person13@acme.example"}}); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 20 {
		l.mu.Lock()
		l.size += 137
		l.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
	close(done)
	wg.Wait()
	x := opened(t, dsn)
	if _, err := x.Sync(t.Context(), l.source); err != nil {
		t.Fatal(err)
	}
	if r, err := x.Verify(t.Context(), l.source); err != nil || !r.OK() || r.Entries != uint64(l.size) {
		t.Errorf("%+v %v", r, err)
	}
}

// Values that somebody chose to hurt are stored, kept apart and found.
func testHostile(t *testing.T, dsn string) {
	long := strings.Repeat("x", 5000)
	ids := []string{long + "1", long + "2", "a\x00b", "a\uFFFDb", "%", "_", `'; DROP TABLE entries; --`, "\U0010FFFFz", "\U0010FFFF\U0010FFFF", "ß", " lead", strings.Repeat("é", 200), strings.Repeat("é", 200) + "!"}
	l := &log{size: len(ids) + 1, raws: map[int][]byte{len(ids): []byte(`{"v":1,"not":"an entry"}`)}}
	for i, id := range ids {
		e := generated(i + 1)
		e.Resource.WorkflowID, e.Reason = id, long+"\x00 "+id
		raw, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		l.raws[i] = raw
	}
	x := opened(t, dsn)
	synced(t, x, l, l.size)
	for i, id := range ids {
		rows, _, err := x.Query(t.Context(), Filter{Workflow: []string{id}})
		if err != nil || len(rows) != 1 || rows[0].Index != uint64(i) {
			t.Errorf("%.20q: %d rows, %v", id, len(rows), err)
		}
	}
	if rows, _, err := x.Query(t.Context(), Filter{Workflow: []string{"xxx*"}}); err != nil || len(rows) != 2 {
		t.Errorf("long values by prefix: %d %v", len(rows), err)
	}
	// A malformed entry of the log is kept, so that indexes stay the log's, and found by nothing.
	rows, _, err := x.Query(t.Context(), Filter{Limit: 1})
	if err != nil || len(rows) != 1 || rows[0].Index != uint64(len(ids)) || rows[0].Entry.ID != "" || string(rows[0].Raw) != `{"v":1,"not":"an entry"}` {
		t.Errorf("%+v %v", rows, err)
	}
	if r, err := x.Verify(t.Context(), l.source); err != nil || !r.OK() {
		t.Errorf("%+v %v", r, err)
	}
}

func testVersion(t *testing.T, dsn string) {
	x := opened(t, dsn)
	set := func(version int) {
		if _, err := x.db.ExecContext(t.Context(), `UPDATE meta SET value = $1 WHERE name = 'version'`, version); err != nil {
			t.Fatal(err)
		}
	}
	set(FormatVersion + 1)
	if _, err := Open(t.Context(), dsn); !errors.Is(err, ErrVersion) {
		t.Errorf("a newer index was opened: %v", err)
	}
	// One of an earlier version, with other terms, is made again from the log.
	set(FormatVersion)
	l := &log{size: 500}
	synced(t, x, l, 500)
	if _, err := x.db.ExecContext(t.Context(), `DELETE FROM postings`); err != nil {
		t.Fatal(err)
	}
	set(FormatVersion - 1)
	again := opened(t, dsn)
	if n, err := again.Size(t.Context()); err != nil || n != 0 {
		t.Errorf("an earlier index has %d entries, %v", n, err)
	}
	synced(t, again, l, 500)
	if r, err := again.Verify(t.Context(), l.source); err != nil || !r.OK() {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := Open(t.Context(), ""); err == nil {
		t.Error("an index without a name")
	}
}

// Blocks far from each other are read by name, those close together as a range, and only those asked for are answered.
func testScattered(t *testing.T, dsn string) {
	x := opened(t, dsn)
	const common, rare, hidden = 1, 2, 3
	for _, r := range []struct {
		term, block int64
		offsets     []uint16
	}{
		{common, 0, []uint16{1, 2, 3, 4}}, {common, 1, []uint16{5, 6, 7}}, {common, 50, []uint16{1, 9, 10}}, {common, 51, []uint16{7, 8, 9}}, {common, 900, []uint16{3, 4, 5}},
		{rare, 0, []uint16{2, 4, 8}}, {rare, 1, []uint16{8}}, {rare, 51, []uint16{7}}, {rare, 900, []uint16{5}}, {hidden, 0, []uint16{3, 4}}, {hidden, 900, []uint16{5}},
	} {
		if _, err := x.db.ExecContext(t.Context(), `INSERT INTO postings (term, block, n, data) VALUES ($1, $2, $3, $4)`, r.term, r.block, len(r.offsets), encodePosting(r.offsets)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		clauses [][]int64
		without []int64
		blocks  []int64
		want    map[int64][]uint16
	}{
		{[][]int64{{common}}, nil, []int64{900, 50, 0}, map[int64][]uint16{0: {1, 2, 3, 4}, 50: {1, 9, 10}, 900: {3, 4, 5}}},
		{[][]int64{{common}, {rare}}, nil, []int64{900, 50, 0}, map[int64][]uint16{0: {2, 4}, 900: {5}}},
		{[][]int64{{common}, {rare}}, nil, []int64{0, 1}, map[int64][]uint16{0: {2, 4}}},
		{[][]int64{{common, rare}}, nil, []int64{0, 51}, map[int64][]uint16{0: {1, 2, 3, 4, 8}, 51: {7, 8, 9}}},
		{[][]int64{{common, rare}, {rare}}, []int64{hidden}, []int64{0, 900}, map[int64][]uint16{0: {2, 8}, 900: {}}},
		{[][]int64{{hidden}, {common}}, nil, []int64{50, 51}, nil},
	} {
		got, err := (&plan{x: x, clauses: c.clauses, without: c.without}).match(t.Context(), c.blocks)
		if err != nil || !maps.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("%v without %v in %v: %v, want %v: %v", c.clauses, c.without, c.blocks, got, c.want, err)
		}
	}
}

// No query reads a whole table.
func testPlans(t *testing.T, dsn string) {
	x := opened(t, dsn)
	l := &log{size: 5000}
	synced(t, x, l, l.size)
	before, explain := `SELECT 1`, `EXPLAIN QUERY PLAN `
	if x.dialect.postgres {
		before, explain = `SET LOCAL enable_seqscan = off`, `EXPLAIN ` // tables this small are quicker read whole
	}
	for _, q := range []string{
		`SELECT hash FROM entries WHERE idx = 7`,
		`SELECT idx, hash, raw FROM entries WHERE idx >= 0 AND idx < 90 AND time >= 1 AND time < 9 ORDER BY idx DESC LIMIT 9`,
		`SELECT idx, hash, raw FROM entries WHERE idx IN (1,2,3) AND time >= 5 AND time < 900 ORDER BY idx DESC`,
		`SELECT idx, hash, raw FROM entries WHERE idx >= 0 AND idx < 9 AND time >= 1 AND time < 9 AND (id = 'a' OR id >= 'b' AND id < 'c') ORDER BY idx DESC LIMIT 10`,
		`SELECT term, data FROM postings WHERE block = 1 AND term IN (1,2,3)`,
		`SELECT term, block, data FROM postings WHERE term IN (1,2) AND block BETWEEN 1 AND 9`,
		`SELECT term, block, data FROM postings WHERE term IN (1,2) AND block IN (1,9)`,
		`SELECT term, sum(n) FROM postings WHERE term IN (1,2) AND block BETWEEN 1 AND 9 GROUP BY term`,
		`SELECT min(idx), max(idx) FROM entries WHERE idx / 8192 = 0 AND idx >= 0 AND idx < 90 AND time >= 1 AND time < 9`,
		`SELECT term, value FROM terms WHERE field = 3 AND value IN ('a','b')`,
		`SELECT term, value FROM terms WHERE field = 3 AND value >= 'a' AND value < 'b' ORDER BY value LIMIT 9`,
		`SELECT block, earliest, latest FROM blocks WHERE block >= 1 AND block < 9 AND latest >= 5 AND earliest < 9 ORDER BY block`,
	} {
		tx, err := x.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), before); err != nil {
			t.Fatal(err)
		}
		rows, err := tx.QueryContext(t.Context(), explain+q)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var a, b, c int
			var text string
			if x.dialect.postgres {
				err = rows.Scan(&text)
			} else {
				err = rows.Scan(&a, &b, &c, &text)
			}
			if err != nil {
				t.Fatal(err)
			}
			plan = append(plan, text)
		}
		_ = rows.Close()
		_ = tx.Rollback()
		text := strings.Join(plan, "\n")
		if strings.Contains(text, "Seq Scan") || strings.Contains(text, "SCAN") || len(plan) == 0 {
			t.Errorf("%s:\n%s", q, text)
		}
	}
}
