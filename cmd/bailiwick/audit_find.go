package main

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/index"
	"github.com/bailiwick-dev/bailiwick/audit/tiles"
)

// find finds an entry by index, id, or the beginning of an id.
func (x *openedIndex) find(ctx context.Context, id string) (index.Row, error) {
	unknown := unknownEntry(id)
	if n, err := strconv.ParseUint(id, 10, 56); err == nil && (id == "0" || id[0] != '0') { // ids begin with a zero for centuries
		row, err := x.at(ctx, n)
		if err == nil && row == nil {
			return index.Row{}, unknown
		}
		if err != nil {
			return index.Row{}, err
		}
		return *row, nil
	}
	if strings.ContainsAny(id, "*") || id == "" {
		return index.Row{}, unknown
	}
	q := index.Filter{ID: []string{id}, Limit: 100}
	rows, _, err := x.query(ctx, q)
	if err == nil && len(rows) == 0 && len(id) >= minPrefix {
		q.ID[0] += "*"
		rows, _, err = x.query(ctx, q)
	}
	switch {
	case err != nil:
		return index.Row{}, err
	case len(rows) == 0:
		return index.Row{}, unknown
	case len(rows) > 1:
		return index.Row{}, ambiguous(id, records(rows, 0))
	}
	return rows[0], nil
}

// at returns the entry of an index; nil when there is none.
func (x *openedIndex) at(ctx context.Context, n uint64) (*index.Row, error) {
	size, err := x.Size(ctx)
	if err != nil || n >= size {
		return nil, err
	}
	row, err := x.Get(ctx, n)
	return &row, err
}

// mostKeys is how many keys of its gate a proof's history names, the latest.
const mostKeys = 16

// keyEntries finds the entries by which the gate named its attestation keys before this one: of each key the latest.
func (x *openedIndex) keyEntries(ctx context.Context, row index.Row) ([]uint64, error) {
	found := []uint64{}
	seen := map[string]bool{}
	q := index.Filter{Kind: []audit.Kind{audit.KindGate, audit.KindKey}, Gate: []string{row.Entry.Gate}, KeyUse: []string{"*"}, Limit: 100}
	if row.Entry.Gate == "" {
		return found, nil
	}
	for {
		rows, next, err := x.query(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			kid := r.Entry.Detail["attestation_key"]
			if r.Index < row.Index && !seen[kid] {
				seen[kid], found = true, append(found, r.Index)
			}
		}
		if next == "" || len(found) >= mostKeys {
			slices.Sort(found)
			return found, nil
		}
		q.Cursor = next
	}
}

// issuerKeyEntries finds the entry by which the gate put the issuer's key on record that signed the token of this decision: the latest before it.
func (x *openedIndex) issuerKeyEntries(ctx context.Context, row index.Row) ([]uint64, error) {
	found := []uint64{}
	if row.Entry.Gate == "" || row.Entry.Actor.TokenKey == "" {
		return found, nil
	}
	q := index.Filter{Kind: []audit.Kind{audit.KindKey}, Gate: []string{row.Entry.Gate}, Limit: 500}
	for {
		rows, next, err := x.query(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.Index < row.Index && tiles.HoldsIssuerKey(r.Entry, row.Entry) {
				return append(found, r.Index), nil
			}
		}
		if q.Cursor = next; next == "" {
			return found, nil
		}
	}
}
