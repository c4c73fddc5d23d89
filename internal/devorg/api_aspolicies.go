package devorg

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg/store"
)

// part is how the API serves one kind of what an authorization server is made of.
type part struct {
	kind, prefix, noun, path string
	numbered                 bool // has a priority

	// read checks a request's document. It returns what is kept, and what there can be only one of.
	read func(o *Org, tx *store.Tx, as server, raw []byte, before *store.ServerPart) (doc any, slot string, err error)
}

// The kinds that there are; the table of routes uses them.
var (
	scopeParts  = part{kind: store.ScopePart, prefix: "scp", noun: "OAuth2Scope", path: "scopes", read: readScope}
	claimParts  = part{kind: store.ClaimPart, prefix: "ocl", noun: "OAuth2Claim", path: "claims", read: readClaim}
	policyParts = part{kind: store.PolicyPart, prefix: "00p", noun: "Policy", path: "policies", numbered: true, read: readPolicy}
	ruleParts   = part{kind: store.RulePart, prefix: "0pr", noun: "PolicyRule", path: "rules", numbered: true, read: readRule}
)

// parent is the policy that a rule's path names; "" for the other kinds.
func (p part) parent(tx *store.Tx, c *call, as server) (string, error) {
	if p.kind != store.RulePart {
		return "", nil
	}
	id := c.r.PathValue("policy")
	_, err := tx.ServerPart(as.ID, store.PolicyPart, id)
	return id, orMissing(err, printable(id), "Policy")
}

// show is a row as Okta's API answers it.
func (p part) show(c *call, row store.ServerPart) (any, error) {
	out := map[string]any{}
	if err := json.Unmarshal([]byte(row.Doc), &out); err != nil {
		return nil, err
	}
	self := c.o.base.String() + "/api/v1/authorizationServers/" + row.AuthServer
	if row.Parent != "" {
		self += "/policies/" + row.Parent
	}
	out["id"] = row.ID
	out["_links"] = map[string]any{"self": map[string]any{"href": self + "/" + p.path + "/" + row.ID, "hints": map[string]any{"allow": []string{"GET", "PUT"}}}}
	if p.kind != store.ScopePart {
		out["status"] = row.Status
	}
	if p.numbered {
		out["priority"], out["created"], out["lastUpdated"] = row.Priority, stamp(row.Created), stamp(row.LastUpdated)
	}
	return out, nil
}

// list serves GET of a collection.
func (p part) list(o *Org) func(*call) error {
	return func(c *call) error {
		out := []any{}
		err := o.view(c.r.Context(), func(tx *store.Tx) error {
			as, err := o.server(tx, c.r.PathValue("as"))
			if err != nil {
				return err
			}
			parent, err := p.parent(tx, c, as)
			if err != nil {
				return err
			}
			rows, err := tx.ServerParts(as.ID)
			for _, row := range rows {
				if row.Kind != p.kind || row.Parent != parent {
					continue
				}
				shown, err := p.show(c, row)
				if err != nil {
					return err
				}
				out = append(out, shown)
			}
			return err
		})
		if err != nil {
			return err
		}
		c.links("")
		c.json(http.StatusOK, out)
		return nil
	}
}

// get serves GET of one.
func (p part) get(o *Org) func(*call) error {
	return func(c *call) error {
		var out any
		err := o.view(c.r.Context(), func(tx *store.Tx) error {
			_, row, err := p.find(o, tx, c)
			if err == nil {
				out, err = p.show(c, row)
			}
			return err
		})
		if err != nil {
			return err
		}
		c.json(http.StatusOK, out)
		return nil
	}
}

func (p part) find(o *Org, tx *store.Tx, c *call) (server, store.ServerPart, error) {
	as, err := o.server(tx, c.r.PathValue("as"))
	if err != nil {
		return as, store.ServerPart{}, err
	}
	parent, err := p.parent(tx, c, as)
	if err != nil {
		return as, store.ServerPart{}, err
	}
	id := c.r.PathValue("part")
	row, err := tx.ServerPart(as.ID, p.kind, id)
	if err == nil && row.Parent != parent {
		err = store.ErrNotFound
	}
	return as, row, orMissing(err, printable(id), p.noun)
}

// create serves POST to a collection.
func (p part) create(o *Org) func(*call) error {
	return func(c *call) error {
		return p.write(o, c, http.StatusCreated, func(tx *store.Tx) (server, store.ServerPart, error) {
			as, err := o.server(tx, c.r.PathValue("as"))
			if err != nil {
				return as, store.ServerPart{}, err
			}
			row := store.ServerPart{ID: newID(p.prefix), AuthServer: as.ID, Kind: p.kind, Status: store.Active, Priority: 1, Created: c.now, LastUpdated: c.now}
			if row.Parent, err = p.parent(tx, c, as); err != nil {
				return as, row, err
			}
			rows, err := tx.ServerParts(as.ID)
			for _, other := range rows {
				if p.numbered && other.Kind == p.kind && other.Parent == row.Parent {
					row.Priority = max(row.Priority, other.Priority+1) // last, unless it says otherwise
				}
			}
			return as, row, err
		})
	}
}

// replace serves PUT of one.
func (p part) replace(o *Org) func(*call) error {
	return func(c *call) error {
		return p.write(o, c, http.StatusOK, func(tx *store.Tx) (server, store.ServerPart, error) { return p.find(o, tx, c) })
	}
}

// write stores what a request says in the row that begin finds or makes.
func (p part) write(o *Org, c *call, status int, begin func(*store.Tx) (server, store.ServerPart, error)) error {
	var raw json.RawMessage
	if err := c.body(&raw); err != nil {
		return err
	}
	var common struct {
		Status   string `json:"status"`
		Priority int    `json:"priority"`
	}
	if err := decodeJSON(raw, &common); err != nil {
		return err
	}
	if common.Status != "" && common.Status != store.Active && common.Status != store.Inactive {
		return invalid("status", "status: Must be ACTIVE or INACTIVE")
	}
	var out any
	err := o.update(c.r.Context(), func(tx *store.Tx) error {
		as, row, err := begin(tx)
		if err != nil {
			return err
		}
		var before *store.ServerPart
		if row.Doc != "" {
			before = &row
		}
		doc, slot, err := p.read(o, tx, as, raw, before)
		if err != nil {
			return err
		}
		text, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		row.Doc, row.Slot, row.LastUpdated = string(text), slot, c.now
		if before != nil && !c.now.After(row.Created) {
			row.LastUpdated = row.Created.Add(time.Millisecond) // a clock that stands: changed all the same
		}
		if common.Status != "" {
			row.Status = common.Status
		}
		if p.numbered && common.Priority > 0 {
			row.Priority = common.Priority
		}
		err = tx.PutServerPart(row)
		if errors.Is(err, store.ErrExists) {
			return invalid("name", "name: An object with this field already exists in the current authorization server")
		}
		if err != nil {
			return err
		}
		if out, err = p.show(c, row); err != nil {
			return err
		}
		return o.record(tx, c, event{kind: "app.oauth2.as." + p.kind + map[bool]string{true: ".updated", false: ".created"}[before != nil], message: "OAuth2 authorization server changed", actor: c.api.party,
			targets: []logParty{serverParty(as.AuthServer), {ID: row.ID, Type: p.noun, AlternateID: "unknown", DisplayName: slot}}})
	})
	if err != nil {
		return err
	}
	c.json(status, out)
	return nil
}

// lifecycle serves POST …/lifecycle/{activate,deactivate} of policies and rules.
func (p part) lifecycle(o *Org) func(*call) error {
	return func(c *call) error {
		status, known := map[string]string{"activate": store.Active, "deactivate": store.Inactive}[c.r.PathValue("step")]
		if !known {
			return missing(printable(c.r.URL.Path), "this development org does not serve it")
		}
		err := o.update(c.r.Context(), func(tx *store.Tx) error {
			_, row, err := p.find(o, tx, c)
			if err != nil {
				return err
			}
			row.Status, row.LastUpdated = status, c.now
			return tx.PutServerPart(row)
		})
		if err != nil {
			return err
		}
		c.empty(http.StatusNoContent)
		return nil
	}
}

// oneOf reports whether an enumeration's value is one of those documented.
func oneOf(value string, of ...string) bool { return slices.Contains(of, value) }
