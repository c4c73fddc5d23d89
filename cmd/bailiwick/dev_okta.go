package main

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/devorg"
	"github.com/bailiwick-dev/bailiwick/internal/okta"
	"github.com/bailiwick-dev/bailiwick/internal/okta/syslog"
	"github.com/bailiwick-dev/bailiwick/internal/rotation"
	"github.com/bailiwick-dev/bailiwick/standing"
)

// oktaDirectory is the org as the control plane knows it: it asks as a service app of its own, with private_key_jwt and no more scopes than it
// needs. It is the group back end and the directory of access requests, and the directory of revocations.
type oktaDirectory struct {
	client *okta.Client
	log    *syslog.Log // for all who follow what happens in the org
	issuer string      // of the custom authorization server whose tokens name these people

	mu     sync.Mutex        // covers groups
	groups map[string]string // name → id
}

// oktaScopes are what the control plane asks the org for.
var oktaScopes = []string{"okta.users.read", "okta.groups.manage", "okta.logs.read", "okta.eventHooks.manage", "ssf.manage"}

// openDirectory makes the control plane's client of the org, with a key of its own.
func (d *devEnv) openDirectory(ctx context.Context, logger *slog.Logger) (*oktaDirectory, error) {
	wrap := func(err error) error { return fmt.Errorf("connecting the control plane to the org: %w", err) }
	key, err := d.org.registerClient(ctx, devorg.ManagementClient, d.state.path("keys", "control.pem"))
	if err != nil {
		return nil, wrap(err)
	}
	if err := d.org.grantScopes(ctx, devorg.ManagementClient, oktaScopes); err != nil {
		return nil, wrap(err)
	}
	credentials, err := okta.ServiceApp(okta.ServiceAppConfig{ClientID: devorg.ManagementClient, Scopes: oktaScopes, Key: func() (*rsa.PrivateKey, string, error) {
		return rotation.ReadKey(key.file) // anew each time: it is rotated
	}})
	if err != nil {
		return nil, wrap(err)
	}
	client, err := okta.New(okta.Config{URL: d.orgURL(), Credentials: credentials, MaxWait: 20 * time.Second, Logger: logger})
	if err != nil {
		return nil, wrap(err)
	}
	return newOktaDirectory(client, d.issuer()), nil
}

// grantScopes lets an app ask for scopes of the management API, as an operator would: an org from before they were needed has not granted them.
func (o *orgServer) grantScopes(ctx context.Context, app string, scopes []string) error {
	path := "/api/v1/apps/" + app + "/grants"
	var have []struct {
		Scope string `json:"scopeId"`
	}
	if err := o.manage(ctx, http.MethodGet, path, nil, &have); err != nil {
		return err
	}
	for _, scope := range scopes {
		granted := false
		for _, g := range have {
			granted = granted || g.Scope == scope
		}
		if granted {
			continue
		}
		if err := o.manage(ctx, http.MethodPost, path, map[string]string{"scopeId": scope, "issuer": o.base}, nil); err != nil {
			return err
		}
	}
	return nil
}

func newOktaDirectory(client *okta.Client, issuer string) *oktaDirectory {
	return &oktaDirectory{client: client, log: syslog.New(client, nil), issuer: issuer, groups: map[string]string{}}
}

// uid is the org's id of a principal; false for one of another issuer, or who is no person.
func (o *oktaDirectory) uid(principal string) (string, bool) {
	id, ours := strings.CutPrefix(principal, "user:"+o.issuer+"|")
	return id, ours && id != ""
}

// Person tells what the org says of somebody now. A person of this issuer whom the org does not have is not active: they were deleted.
func (o *oktaDirectory) Person(ctx context.Context, principal string) (standing.Person, bool, error) {
	uid, ours := o.uid(principal)
	if !ours {
		return standing.Person{}, false, nil
	}
	p := standing.Person{Principal: principal, AsOf: time.Now()}
	u, err := o.client.User(ctx, uid)
	if okta.IsNotFound(err) {
		return p, true, nil
	}
	if err != nil {
		return p, false, err
	}
	p.Login, p.Active = u.Profile.Login, u.Active()
	p.Groups, err = o.groupsOf(ctx, u.ID)
	return p, err == nil, err
}

// Manager names who the org's profile attribute managerId is: by id or by login, whichever the org keeps there.
func (o *oktaDirectory) Manager(ctx context.Context, principal string) (string, error) {
	uid, ours := o.uid(principal)
	if !ours {
		return "", nil
	}
	u, err := o.client.User(ctx, uid)
	if err != nil {
		return "", notFoundIsNone(err)
	}
	var id string
	if json.Unmarshal(u.Profile.All["managerId"], &id) != nil || id == "" { // absent, null, or no text
		return "", nil
	}
	m, err := o.client.User(ctx, id)
	if err != nil {
		return "", notFoundIsNone(err)
	}
	if !m.Active() {
		return "", nil
	}
	return "user:" + o.issuer + "|" + m.ID, nil
}

func notFoundIsNone(err error) error {
	if okta.IsNotFound(err) {
		return nil
	}
	return err
}

// groupsOf lists the names of the groups that somebody is in; never nil.
func (o *oktaDirectory) groupsOf(ctx context.Context, uid string) ([]string, error) {
	names := []string{}
	for g, err := range o.client.UserGroups(ctx, uid) {
		if err != nil {
			return nil, err
		}
		names = append(names, g.Profile.Name)
	}
	return names, nil
}

// Add makes somebody a member of the group of that name; it is no error if they are.
func (o *oktaDirectory) Add(ctx context.Context, group, user string) error {
	return o.inGroup(ctx, group, func(id string) error { return o.client.AddMember(ctx, id, user) })
}

// Remove takes somebody out of the group of that name; it is no error if they are not in it, or not in the org any more.
func (o *oktaDirectory) Remove(ctx context.Context, group, user string) error {
	return o.inGroup(ctx, group, func(id string) error {
		err := o.client.RemoveMember(ctx, id, user)
		if !okta.IsNotFound(err) {
			return err
		}
		if _, err := o.client.User(ctx, user); okta.IsNotFound(err) {
			return nil // deleted, and out of every group with it
		}
		return err
	})
}

// Members lists the uids of a group's members.
func (o *oktaDirectory) Members(ctx context.Context, group string) (users []string, err error) {
	err = o.inGroup(ctx, group, func(id string) error {
		users = nil
		for u, err := range o.client.Members(ctx, id) {
			if err != nil {
				return err
			}
			users = append(users, u.ID)
		}
		return nil
	})
	return users, err
}

// inGroup finds the group's id, and once more if what it remembered is gone: somebody deleted the group and made another of its name.
func (o *oktaDirectory) inGroup(ctx context.Context, name string, do func(id string) error) error {
	o.mu.Lock()
	id, remembered := o.groups[name]
	o.mu.Unlock()
	if remembered {
		if err := do(id); !okta.IsNotFound(err) {
			return err
		}
	}
	g, err := o.client.GroupNamed(ctx, name)
	if okta.IsNotFound(err) {
		return fmt.Errorf("the org has no group %q: create it, or name another in access.yaml: %w", name, errNoGroup)
	}
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.groups[name] = g.ID
	o.mu.Unlock()
	return do(g.ID)
}

var errNoGroup = errors.New("no such group")
