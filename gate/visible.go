package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Names of the search attributes and memo fields that the gate sets on runs, for people to find and read. They prove nothing: the
// attestation in the history does.
const (
	FieldOriginator = "BailiwickOriginator" // login, else id, of who began the chain of acts
	FieldActor      = "BailiwickActor"      // the same of who acted
	FieldReason     = "BailiwickReason"
	FieldGrant      = "BailiwickGrant"
	FieldTrigger    = "BailiwickTrigger" // memo only: who made the schedule start this run, and under which decision
)

// SearchAttributes are the attributes to register in a namespace, with their types. A namespace without them works: runs there have only
// the memo.
func SearchAttributes() map[string]enumspb.IndexedValueType {
	return map[string]enumspb.IndexedValueType{
		FieldOriginator: enumspb.INDEXED_VALUE_TYPE_KEYWORD, FieldActor: enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		FieldGrant: enumspb.INDEXED_VALUE_TYPE_KEYWORD, FieldReason: enumspb.INDEXED_VALUE_TYPE_TEXT,
	}
}

// reservedPrefix begins the names that only the gate may set, however they are cased.
const reservedPrefix = "bailiwick"

func reserved(name string) bool {
	return len(name) >= len(reservedPrefix) && strings.EqualFold(name[:len(reservedPrefix)], reservedPrefix)
}

// maxKeyword is what SQL stores keep of a keyword, in bytes; a longer one would hold up the store for good.
const maxKeyword = 255

// visible is what the gate sets on one run.
type visible struct{ originator, actor, reason, grant, decision string }

func visibleOf(s attest.Statement) visible {
	return visible{clip(display(s.Originator), maxKeyword-4), clip(display(s.Actor), maxKeyword-4), s.Reason, s.Grant, s.ID}
}

// show puts what people look for into a start's search attributes where the namespace has them, and else, or where they can't hold it whole, into
// its memo: once, because every history keeps it. What the client set under our names is removed.
func (g *Gate) show(namespace string, v visible, memo **commonpb.Memo, attributes **commonpb.SearchAttributes) {
	hide(*memo, *attributes)
	if v.decision == "" {
		return
	}
	registered := g.attributes.of(namespace)
	set := func(name, value string) {
		if value == "" {
			return
		}
		typ, ok := registered[name]
		whole := typ != enumspb.INDEXED_VALUE_TYPE_KEYWORD || len(value) <= maxKeyword
		if !ok || !whole {
			setMemo(memo, name, value)
		}
		if !ok {
			return
		}
		if !whole {
			value = clip(value, maxKeyword-4)
		}
		if *attributes == nil {
			*attributes = &commonpb.SearchAttributes{}
		}
		if (*attributes).IndexedFields == nil {
			(*attributes).IndexedFields = make(map[string]*commonpb.Payload, 4)
		}
		(*attributes).IndexedFields[name] = textPayload(value)
	}
	set(FieldOriginator, v.originator)
	set(FieldActor, v.actor)
	set(FieldReason, v.reason)
	set(FieldGrant, v.grant)
}

func setMemo(memo **commonpb.Memo, name, value string) {
	if *memo == nil {
		*memo = &commonpb.Memo{}
	}
	if (*memo).Fields == nil {
		(*memo).Fields = make(map[string]*commonpb.Payload, 4)
	}
	(*memo).Fields[name] = textPayload(value)
}

func textPayload(s string) *commonpb.Payload {
	data, err := json.Marshal(s)
	if err != nil {
		data = []byte(`""`)
	}
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: data}
}

// hide removes our names.
func hide(memo *commonpb.Memo, attributes *commonpb.SearchAttributes) {
	for name := range memo.GetFields() {
		if reserved(name) {
			delete(memo.Fields, name)
		}
	}
	for name := range attributes.GetIndexedFields() {
		if reserved(name) {
			delete(attributes.IndexedFields, name)
		}
	}
}

// showCommands does the same for the runs that a worker's answer starts: they are on behalf of whoever its own run is.
func (g *Gate) showCommands(a *Admission, r *workflowservice.RespondWorkflowTaskCompletedRequest) {
	var v visible
	if a.origin.attested() {
		v = visibleOf(a.origin.verified.Statement())
	}
	for _, cmd := range r.GetCommands() {
		switch attrs := cmd.GetAttributes().(type) {
		case *commandpb.Command_StartChildWorkflowExecutionCommandAttributes:
			if c := attrs.StartChildWorkflowExecutionCommandAttributes; c != nil {
				namespace := c.GetNamespace() //lint:ignore SA1019 deprecated in the API, and still obeyed by the server
				if namespace == "" {
					namespace = a.namespace
				}
				g.show(namespace, v, &c.Memo, &c.SearchAttributes)
			}
		case *commandpb.Command_ContinueAsNewWorkflowExecutionCommandAttributes:
			if c := attrs.ContinueAsNewWorkflowExecutionCommandAttributes; c != nil {
				g.show(a.namespace, v, &c.Memo, &c.SearchAttributes)
			}
		}
	}
}

// changesReserved says what a request would change of what only the gate may set, or "".
func changesReserved(request any) error {
	refuse := func(name string) error {
		return fmt.Errorf("%q is set by Bailiwick alone; use a name that does not begin with %q", clip(name, 64), "Bailiwick")
	}
	switch r := request.(type) {
	case *workflowservice.RespondWorkflowTaskCompletedRequest:
		for _, cmd := range r.GetCommands() {
			for name := range cmd.GetUpsertWorkflowSearchAttributesCommandAttributes().GetSearchAttributes().GetIndexedFields() {
				if reserved(name) {
					return refuse(name)
				}
			}
			for name := range cmd.GetModifyWorkflowPropertiesCommandAttributes().GetUpsertedMemo().GetFields() {
				if reserved(name) {
					return refuse(name)
				}
			}
		}
	case *operatorservice.AddSearchAttributesRequest:
		for name, typ := range r.GetSearchAttributes() {
			if want, known := SearchAttributes()[name]; reserved(name) && (!known || want != typ) {
				return refuse(name)
			}
		}
	case *operatorservice.RemoveSearchAttributesRequest:
		for _, name := range r.GetSearchAttributes() {
			if reserved(name) {
				return refuse(name)
			}
		}
	}
	return nil
}

// attributes knows which of our search attributes each namespace has registered.
type attributes struct {
	resolver Resolver // nil: none are known
	clock    func() time.Time

	mu    sync.Mutex // covers known
	known map[string]registered
}

type registered struct {
	types map[string]enumspb.IndexedValueType // in use
	seen  map[string]enumspb.IndexedValueType // by the last look-up
	until time.Time
}

const (
	attributesKeep   = time.Minute      // for how long an answer is used
	attributesSettle = 10 * time.Second // from when an attribute is first seen to its use: every frontend knows it by then (system.namespaceCacheRefreshInterval)
	attributesRetry  = 10 * time.Second // after a look-up that failed
	attributesWait   = time.Second      // longest wait for one
	attributesMax    = 4096             // namespaces
)

// of returns the registered ones among ours. A look-up that fails leaves what was known: a start never fails for it, nor for an attribute that
// was just added, which frontends learn of some seconds later.
func (m *attributes) of(namespace string) map[string]enumspb.IndexedValueType {
	if m.resolver == nil || namespace == "" {
		return nil
	}
	now := m.clock()
	m.mu.Lock()
	have, ok := m.known[namespace]
	m.mu.Unlock()
	if ok && now.Before(have.until) {
		return have.types
	}
	ctx, cancel := context.WithTimeout(context.Background(), attributesWait)
	defer cancel()
	all, err := m.resolver.SearchAttributes(ctx, namespace)
	if err != nil {
		have.until = now.Add(attributesRetry)
	} else {
		have = have.next(all, ok, now)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(namespace, have)
	return have.types
}

// next is what to go by after a look-up. What an earlier one did not find is new; the first of all has to take what it finds.
func (r registered) next(all map[string]enumspb.IndexedValueType, again bool, now time.Time) registered {
	out := registered{map[string]enumspb.IndexedValueType{}, map[string]enumspb.IndexedValueType{}, now.Add(attributesKeep)}
	for name, want := range SearchAttributes() {
		typ, ok := all[name]
		if !ok || typ != want && typ != enumspb.INDEXED_VALUE_TYPE_KEYWORD {
			continue
		}
		out.seen[name] = typ
		if _, known := r.seen[name]; known || !again {
			out.types[name] = typ
		} else {
			out.until = now.Add(attributesSettle)
		}
	}
	return out
}

// added makes the next start look again, and what it finds besides is new.
func (m *attributes) added(namespace string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	have := m.known[namespace]
	have.until = time.Time{}
	m.keep(namespace, have)
}

// keep stores what is known; the caller holds mu.
func (m *attributes) keep(namespace string, have registered) {
	if m.known == nil || len(m.known) >= attributesMax {
		m.known = map[string]registered{}
	}
	m.known[namespace] = have
}
