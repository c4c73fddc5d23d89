package evidence

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Listing names the listing of the identity provider's people that a pack was made with. It is no part of the log, but which one was handed out is.
type Listing struct {
	SHA256 string `json:"sha256"` // of the file, in hex
	Entry  string `json:"entry"`  // id of the audit entry by which the control plane put that on record
}

// listingName is the listing's file in a pack: JSON lines, as they were handed out.
const listingName = "directory.jsonl"

// maxListingLine bounds one person of a listing, in bytes.
const maxListingLine = 4 << 20

// listingHead is the first line of a listing, listingPerson each of the others.
type listingHead struct {
	Version int       `json:"v"`
	Issuer  string    `json:"issuer"`
	AsOf    time.Time `json:"as_of"`
}

type listingPerson struct {
	ID     string   `json:"id"`
	Login  string   `json:"login"`
	Status string   `json:"status"`
	Active bool     `json:"active"`
	Groups []string `json:"groups"`
}

// provider is what the listing says beside the record.
type provider struct {
	Listing
	AsOf     time.Time
	People   int // who hold a role by their groups
	Inactive int // of whom, who may not sign in
	On       Ref // the entry that names the listing, if it is of the period
	Hidden   int // people whom the log has under pseudonyms, so that they can't be found in the listing

	unused []listedRow // roles held and not used in the period
	gone   []listedRow // use in the period by people who hold no role
}

// listedRow is one role of one person at the provider, or what somebody did who has none there.
type listedRow struct {
	Who, Principal, State, Status, Namespace, Role, Level string
	Use                                                   span
}

// Values of the table's column "at_provider".
const (
	stateActive   = "active"
	stateInactive = "may not sign in"
	stateNone     = "no role"
)

// listed holds the listing against what the record says was used, and copies it into the pack.
func (f *facts) listed(open func() (io.ReadCloser, error), p *pack) error {
	named := f.settings.Directory
	if named == nil {
		return nil
	}
	if open == nil {
		return fmt.Errorf("%w: a listing of people is named and not there", ErrSettings)
	}
	if f.listingSum != "" && f.listingSum != named.SHA256 {
		return fmt.Errorf("%w: entry %s says that another listing of people was handed out", ErrSettings, named.Entry)
	}
	from, err := open()
	if err != nil {
		return fmt.Errorf("reading the listing of people: %w", err)
	}
	defer from.Close()
	copied, err := p.create(listingName)
	if err != nil {
		return err
	}
	v := &provider{Listing: *named, On: f.listingEntry}
	rows, err := f.readListing(io.TeeReader(from, copied), v)
	if err = errors.Join(err, copied.Close()); err != nil {
		return fmt.Errorf("reading the listing of people: %w", err)
	}
	if got := p.files[len(p.files)-1].SHA256; got != named.SHA256 {
		return fmt.Errorf("%w: the listing of people has the SHA-256 %s, and %s was handed out", ErrSettings, got, named.SHA256)
	}
	f.provider = v
	return f.listingTable(rows, p)
}

// readListing reads who holds which role, and adds who acted in the period and holds none.
func (f *facts) readListing(r io.Reader, v *provider) ([]listedRow, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxListingLine)
	if !lines.Scan() {
		return nil, cmp.Or(lines.Err(), io.ErrUnexpectedEOF)
	}
	var head listingHead
	if err := json.Unmarshal(lines.Bytes(), &head); err != nil {
		return nil, fmt.Errorf("%w: its first line: %w", ErrSettings, err)
	}
	if head.Version != 1 || head.Issuer == "" || head.AsOf.IsZero() {
		return nil, fmt.Errorf("%w: its first line is not one of version 1", ErrSettings)
	}
	v.AsOf = head.AsOf
	var rows []listedRow
	holders := map[string]bool{}
	for n := 2; lines.Scan(); n++ {
		var one listingPerson
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrSettings, n, err)
		}
		who := person{Principal: "user:" + head.Issuer + "|" + one.ID, Login: one.Login}
		had := len(rows)
		for _, g := range one.Groups {
			if namespace, role, ok := f.roleOf(g); ok {
				r := listedRow{Who: who.Name(), Principal: who.Principal, State: stateActive, Status: one.Status, Namespace: namespace, Role: role, Level: levelOf[role]}
				if !one.Active {
					r.State = stateInactive
				}
				if used := f.pairs[pairKey{r.Principal, namespace, r.Level}]; used != nil {
					r.Use = used.span
				} else if r.Level != "" {
					v.unused = append(v.unused, r)
				}
				rows = append(rows, r)
			}
		}
		if len(rows) == had {
			continue
		}
		holders[who.Principal] = true
		v.People++
		if !one.Active {
			v.Inactive++
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	hidden := map[string]bool{}
	for _, p := range f.sortedPairs() {
		switch {
		case strings.HasPrefix(p.principal, "person:"):
			hidden[p.principal] = true
		case strings.HasPrefix(p.principal, "user:"+head.Issuer+"|") && !holders[p.principal]:
			v.gone = append(v.gone, listedRow{Who: f.called(p.principal, "").Name(), Principal: p.principal, State: stateNone, Namespace: p.namespace, Level: p.access, Use: p.span})
		}
	}
	v.Hidden = len(hidden)
	byName := func(a, b listedRow) int {
		return cmp.Or(cmp.Compare(a.Who, b.Who), cmp.Compare(a.Principal, b.Principal), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Level, b.Level))
	}
	slices.SortStableFunc(v.unused, byName)
	slices.SortStableFunc(rows, byName)
	return append(rows, v.gone...), nil
}

func (f *facts) listingTable(rows []listedRow, p *pack) error {
	t, err := p.table("entries/people.csv", "person", "principal", "at_provider", "status", "namespace", "role", "level", "calls", "first", "first_entry", "last", "last_entry")
	if err != nil {
		return err
	}
	defer t.abandon()
	for _, r := range rows {
		first, last := "", ""
		if r.Use.N > 0 {
			first, last = strconv.FormatUint(r.Use.First.Index, 10), strconv.FormatUint(r.Use.Last.Index, 10)
		}
		if err := t.row(r.Who, r.Principal, r.State, r.Status, r.Namespace, r.Role, r.Level, strconv.FormatUint(r.Use.N, 10), stamp(r.Use.First.Time), first, stamp(r.Use.Last.Time), last); err != nil {
			return err
		}
	}
	return t.close()
}

// providerView is what the report shows of the listing.
type providerView struct {
	*provider
	Unused, Gone shown[listedRow]
}

func (f *facts) viewProvider(v *view) {
	if f.provider == nil {
		return
	}
	v.Provider = &providerView{f.provider, cut(f.provider.unused, rowsShown), cut(f.provider.gone, rowsShown)}
	f.cite(f.provider.On)
	for _, r := range v.Provider.Gone.Rows {
		f.citeAll([]Ref{r.Use.First, r.Use.Last})
	}
}
