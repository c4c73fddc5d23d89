package tiles

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bailiwick-dev/bailiwick/attest"
	"github.com/bailiwick-dev/bailiwick/audit"
	"github.com/bailiwick-dev/bailiwick/audit/blobs"
)

// keys puts the key history and the keys that it names into the bundle.
func (p *prover) keys(ctx context.Context, b *Bundle, e audit.Entry) error {
	indexes := slices.Clone(p.cfg.KeyEntries)
	if indexes == nil {
		i, _, err := p.last(ctx, b.Entry.Index, []byte(keyDetail), func(k audit.Entry) bool { return namesKey(k, e.Gate) })
		if err == nil {
			indexes = append(indexes, i)
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	slices.Sort(indexes)
	var keys []attest.Key
	for _, i := range slices.Compact(indexes) {
		if i >= b.Entry.Index {
			continue
		}
		pe, err := p.prove(i)
		if err != nil {
			return err
		}
		k, err := audit.ParseEntry([]byte(pe.Raw))
		if err != nil || !namesKey(k, e.Gate) {
			return fmt.Errorf("entry %d does not name an attestation key of gate %q", i, e.Gate)
		}
		b.KeyHistory = append(b.KeyHistory, pe)
		for _, key := range p.cfg.Keys.Keys() {
			if key.ID == k.Detail[keyDetail] && !slices.ContainsFunc(keys, func(have attest.Key) bool { return have.ID == key.ID }) {
				keys = append(keys, attest.Key{Public: key.Public}) // its validity is not on record, so it is not told
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	set, err := attest.NewKeySet(keys...)
	if err != nil {
		return err
	}
	b.Keys = set.JSON()
	return nil
}

// issuerKey puts the key that signed the caller's token into the bundle.
func (p *prover) issuerKey(ctx context.Context, b *Bundle, e audit.Entry) error {
	if e.Actor.TokenKey == "" {
		return nil
	}
	var index uint64
	switch found := p.cfg.IssuerKeyEntries; {
	case len(found) > 0:
		index = found[len(found)-1]
	case found != nil:
		return nil
	default:
		var err error
		index, _, err = p.last(ctx, b.Entry.Index, []byte(`"use":"issuer"`), func(k audit.Entry) bool { return HoldsIssuerKey(k, e) })
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	proven, err := p.prove(index)
	if err != nil {
		return err
	}
	b.IssuerKey = &proven
	return nil
}

// HoldsIssuerKey reports whether an entry is one by which the gate of a decision put the key on record that signed the caller's token. Where
// the caller is known by a pseudonym alone, the key's id has to do.
func HoldsIssuerKey(k, decision audit.Entry) bool {
	d := k.Detail
	if k.Kind != audit.KindKey || d["use"] != audit.UseIssuer || k.Gate != decision.Gate || d["kid"] == "" || d["kid"] != decision.Actor.TokenKey || d["jwk"] == "" {
		return false
	}
	kind, rest, _ := strings.Cut(decision.Actor.Principal, ":")
	return kind != "user" && kind != "client" || strings.HasPrefix(rest, d["issuer"]+"|")
}

// keyDetail is the detail by which a gate's entry names the key that it attests with from then on, by its id.
const keyDetail = "attestation_key"

func namesKey(e audit.Entry, gate string) bool {
	return (e.Kind == audit.KindGate || e.Kind == audit.KindKey) && e.Gate == gate && e.Detail[keyDetail] != ""
}

// policy returns the texts of the set that decided. A text that is not kept, or that JSON can't carry, is left out.
func (p *prover) policy(e audit.Entry) ([]PolicyText, error) {
	if p.cfg.Blobs == "" || e.Decision == nil || e.Decision.PolicyDigest == "" {
		return nil, nil
	}
	raw, err := blobs.Get(p.cfg.Blobs, e.Decision.PolicyDigest)
	if errors.Is(err, blobs.ErrNotFound) || errors.Is(err, blobs.ErrNoDigest) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	texts, err := splitPolicy(raw)
	if err != nil || !utf8.Valid(raw) && !validTexts(texts) || len(raw) > MaxBundle/2 {
		return nil, err
	}
	return texts, nil
}

func validTexts(texts []PolicyText) bool {
	return !slices.ContainsFunc(texts, func(t PolicyText) bool { return !utf8.ValidString(t.Name) || !utf8.ValidString(t.Text) })
}

// splitPolicy reads the form that a policy set's digest is the SHA-256 of: for each text the lengths of name and content (big-endian
// uint64), name and content.
func splitPolicy(raw []byte) ([]PolicyText, error) {
	var texts []PolicyText
	for len(raw) > 0 {
		if len(raw) < 16 {
			return nil, errors.New("policy texts end inside a length")
		}
		name, content := binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])
		raw = raw[16:]
		if name > uint64(len(raw)) || content > uint64(len(raw))-name {
			return nil, errors.New("policy texts end inside a text")
		}
		texts = append(texts, PolicyText{Name: string(raw[:name]), Text: string(raw[name : name+content])})
		raw = raw[name+content:]
	}
	return texts, nil
}

func joinPolicy(texts []PolicyText) []byte {
	var b []byte
	for _, t := range texts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(t.Name)))
		b = binary.BigEndian.AppendUint64(b, uint64(len(t.Text)))
		b = append(b, t.Name...)
		b = append(b, t.Text...)
	}
	return b
}
