package index

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/audit"
)

// Filter says which entries to find: all conditions must hold. In a list one value must match; a value that ends in "*" matches as a
// prefix. An empty condition is none.
type Filter struct {
	Actor        []string // who acted or was acted for: principal, login or a link of the delegation chain
	Originator   []string // who the call was for: principal or login
	Agent        []string // a link of the delegation chain
	Client       []string // client id
	Group        []string // a group the caller was in
	Namespace    []string
	Workflow     []string // workflow id
	WorkflowType []string
	Run          []string
	Schedule     []string
	TaskQueue    []string
	Name         []string // of a signal, update or query
	Action       []string // API method
	Access       []string // read, operate, work, administer
	NotAccess    []string // leaves entries of these kinds of access out
	Allow        *bool    // allowed, or refused
	Code         []string
	Policy       []string // id of a policy that determined it
	PolicySet    []string // digest
	Grant        []string
	Source       []string
	Token        []string // the token's jti
	Kind         []audit.Kind
	Gate         []string
	KeyUse       []string  // attestation key that a gate's entry names
	ID           []string  // of the entry; "*" as elsewhere
	Reason       string    // words that the reason has, all of them, in any order and case
	From, To     time.Time // of the entry's time: From is included, To is not; zero: unbounded

	Limit  int    // rows of a page; 0 means 100, more than 10,000 is 10,000
	Cursor string // where the page before ended
	Oldest bool   // the oldest first; else the newest
}

// Row is one entry found.
type Row struct {
	Index uint64      `json:"index"`
	Entry audit.Entry `json:"entry"`
	Raw   []byte      `json:"-"`
}

// ErrFilter is wrapped by the error of Query for a filter that can't be answered.
var ErrFilter = errors.New("invalid filter")

const (
	defaultLimit = 100
	maxLimit     = 10_000
	maxPrefix    = 4096 // terms that a prefix may stand for
)

// Query returns a page of entries, by index and the newest first, and where the next page begins: empty after the last. A page is a
// range of indexes, so that entries added meanwhile neither repeat nor displace any.
func (x *Index) Query(ctx context.Context, f Filter) (rows []Row, next string, err error) {
	p, err := x.plan(ctx, f)
	if err == nil {
		rows, next, err = p.run(ctx)
	}
	if err != nil {
		return nil, "", fmt.Errorf("querying index: %w", err)
	}
	return rows, next, nil
}

// clause is a set of terms, any of which must be there.
type clause []term

// clauses lists what must hold besides time, id and NotAccess.
func (f *Filter) clauses() ([]clause, error) {
	var list []clause
	add := func(values []string, fields ...Field) {
		var c clause
		for _, v := range values {
			for _, field := range fields {
				c = append(c, term{field, v})
			}
		}
		if len(values) > 0 {
			list = append(list, c)
		}
	}
	// What a party was refused has a term of its own, which says who and the outcome.
	refused := f.Allow != nil && !*f.Allow && len(f.Actor)+len(f.Originator)+len(f.Agent) > 0
	if refused {
		add(f.Actor, FieldRefused)
		add(f.Originator, FieldRefused)
		add(f.Agent, FieldRefused)
	} else {
		add(f.Actor, FieldOriginator, FieldAgent)
	}
	add(f.Originator, FieldOriginator)
	add(f.Agent, FieldAgent)
	add(f.Client, FieldClient)
	add(f.Group, FieldGroup)
	add(f.Namespace, FieldNamespace)
	add(f.Workflow, FieldWorkflow)
	add(f.WorkflowType, FieldWorkflowType)
	add(f.Run, FieldRun)
	add(f.Schedule, FieldSchedule)
	add(f.TaskQueue, FieldTaskQueue)
	add(f.Name, FieldName)
	add(f.Action, FieldAction)
	add(f.Access, FieldAccess)
	add(f.Code, FieldCode)
	add(f.Policy, FieldPolicy)
	add(f.PolicySet, FieldPolicySet)
	add(f.Grant, FieldGrant)
	add(f.Source, FieldSource)
	add(f.Token, FieldToken)
	add(f.Gate, FieldGate)
	add(f.KeyUse, FieldKeyUse)
	var kinds []string
	for _, k := range f.Kind {
		kinds = append(kinds, string(k))
	}
	add(kinds, FieldKind)
	if f.Allow != nil && !refused {
		outcome := "deny"
		if *f.Allow {
			outcome = "allow"
		}
		add([]string{outcome}, FieldOutcome)
	}
	if f.Reason != "" {
		found := words(f.Reason)
		if len(found) == 0 {
			return nil, fmt.Errorf("%w: the reason %q has no word to look for", ErrFilter, f.Reason)
		}
		for _, w := range found {
			list = append(list, clause{{FieldWord, normal(w)}})
		}
	}
	for _, c := range list {
		for _, t := range c {
			if t.value == "" {
				return nil, fmt.Errorf("%w: an empty value matches nothing", ErrFilter)
			}
		}
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		return nil, fmt.Errorf("%w: the time range ends before it begins", ErrFilter)
	}
	return list, nil
}

// A cursor is a format version, the order and the index of the last row.
func encodeCursor(oldest bool, last int64) string {
	order := "n"
	if oldest {
		order = "o"
	}
	return base64.RawURLEncoding.EncodeToString([]byte("1" + order + strconv.FormatInt(last, 10)))
}

func decodeCursor(s string, oldest bool) (last int64, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	order := "1n"
	if oldest {
		order = "1o"
	}
	digits, ok := strings.CutPrefix(string(raw), order)
	if err == nil && ok {
		last, err = strconv.ParseInt(digits, 10, 64)
	}
	if err != nil || !ok || last < 0 || encodeCursor(oldest, last) != s {
		return 0, fmt.Errorf("%w: the cursor is not one of a query in this order", ErrFilter)
	}
	return last, nil
}

// numbersOf finds the numbers of a clause's terms. None means that nothing matches.
func (x *Index) numbersOf(ctx context.Context, c clause) ([]int64, error) {
	var numbers []int64
	take := func(n int64, _ string) { numbers = append(numbers, n) }
	byField := map[Field][]any{}
	for _, t := range c {
		prefix, isPrefix := strings.CutSuffix(t.value, "*")
		if !isPrefix {
			byField[t.field] = append(byField[t.field], normal(t.value))
			continue
		}
		if len(prefix) > maxValue-80 {
			return nil, fmt.Errorf("%w: a prefix of %d bytes; at most %d are possible", ErrFilter, len(prefix), maxValue-80)
		}
		low := strings.ReplaceAll(strings.ToValidUTF8(prefix, "\uFFFD"), "\x00", "\uFFFD")
		if err := scanTerms(ctx, x.db, `SELECT term, value FROM terms WHERE field = $1 AND value >= $2 AND value < $3 ORDER BY value LIMIT `+strconv.Itoa(maxPrefix+1),
			[]any{int(t.field), low, low + "\U0010FFFF"}, take); err != nil {
			return nil, err
		}
		if len(numbers) > maxPrefix {
			return nil, fmt.Errorf("%w: %q stands for more than %d values; give more of it", ErrFilter, t.value, maxPrefix)
		}
	}
	for field, values := range byField {
		for part := range slices.Chunk(values, 500) {
			if err := scanTerms(ctx, x.db, `SELECT term, value FROM terms WHERE field = $1 AND value IN (`+marks(2, len(part))+`)`, append([]any{int(field)}, part...), take); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), nil
}

// Get returns one entry by its index.
func (x *Index) Get(ctx context.Context, i uint64) (Row, error) {
	rows, err := (&plan{x: x}).rows(ctx, `SELECT idx, hash, raw FROM entries WHERE idx = $1`, []any{int64(i)})
	if err == nil && len(rows) == 0 {
		err = fmt.Errorf("entry %d is not indexed", i)
	}
	if err != nil {
		return Row{}, fmt.Errorf("querying index: %w", err)
	}
	return rows[0], nil
}
