package oktasetup

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/okta"
)

// Failure is an application that stopped in the middle. What was done stays, and the next run goes on from there.
type Failure struct {
	Done []Item // in order
	At   Item   // what failed
	Left int    // what was not begun
	Err  error
}

func (f *Failure) Error() string {
	return fmt.Sprintf("setting up %s %q: %v", f.At.Kind, f.At.Name, f.Err)
}

// Unwrap is the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Apply does what a plan says, in its order, and returns what was done. On failure the error is a *Failure.
func (p *Plan) Apply(ctx context.Context, org *okta.Client, o Options) ([]Item, error) {
	if err := p.Conflicts(); err != nil {
		return nil, err
	}
	var done []Item
	for i := range p.Items {
		item := &p.Items[i]
		if item.Action != Create && item.Action != Alter {
			continue
		}
		var err error
		if item.Action == Create {
			err = p.create(ctx, org, item, o)
		} else {
			err = p.alter(ctx, org, item, o)
		}
		if err != nil {
			left := 0
			for _, later := range p.Items[i+1:] {
				if later.Action == Create || later.Action == Alter {
					left++
				}
			}
			return done, &Failure{Done: done, At: *item, Left: left, Err: err}
		}
		done = append(done, *item)
		if o.Progress != nil {
			o.Progress(*item)
		}
	}
	return done, nil
}

// create makes a thing. Where its answer is lost the next run finds it by its mark or its name.
func (p *Plan) create(ctx context.Context, org *okta.Client, item *Item, o Options) error {
	r := item.res
	path, known := p.known.path(r.list)
	if !known {
		return fmt.Errorf("what it belongs to does not exist")
	}
	if r.put {
		id, known := p.known[r.target]
		if !known {
			return fmt.Errorf("%s does not exist", r.target)
		}
		if _, err := org.PutDocument(ctx, path+okta.Path("/%s", id), okta.Document{}); err != nil {
			return err
		}
		item.ID, p.known[r.key] = id, id
		return nil
	}
	d, err := r.body(p.known)
	if err != nil {
		return err
	}
	if r.keyName != "" {
		jwk, _, err := o.Key(r.keyName, true)
		if err != nil {
			return fmt.Errorf("making its key: %w", err)
		}
		d.Set("settings.oauthClient.jwks", map[string]any{"keys": []any{jwk}})
	}
	if r.kind == "event hook" {
		setSecret(d, o.Secret)
	}
	made, err := org.CreateDocument(ctx, path, d)
	if err != nil {
		return err
	}
	id := made.Text("id")
	if id == "" {
		return fmt.Errorf("the answer has no id; run it again, to see what is there")
	}
	item.ID, p.known[r.key], item.now = id, id, made
	if secret := made.Text("credentials.oauthClient.client_secret"); secret != "" && o.Keep != nil {
		if err := o.Keep(strings.TrimPrefix(r.key, "app/"), secret); err != nil {
			return fmt.Errorf("keeping its secret, which Okta shows once (make another in the admin console): %w", err)
		}
	}
	if r.kind == "event hook" {
		if _, err := org.VerifyEventHook(ctx, id); err != nil {
			return fmt.Errorf("it is made, but its address did not answer the challenge (is the control plane reached from the internet? bailiwick okta doctor tells): %w", err)
		}
	}
	return nil
}

// alter changes the settings that differ, and leaves the others as they are.
func (p *Plan) alter(ctx context.Context, org *okta.Client, item *Item, o Options) error {
	r := item.res
	list, known := p.known.path(r.list)
	if !known {
		return fmt.Errorf("what it belongs to does not exist")
	}
	at := list + okta.Path("/%s", item.ID)
	set, activate := map[string]any{}, false
	for _, c := range item.Changes {
		if c.Left {
			continue
		}
		if c.field.grows == active {
			activate = true
			continue
		}
		want, known := p.known.resolve(c.field.want)
		if !known {
			return fmt.Errorf("%s refers to what does not exist", c.Setting)
		}
		set[c.field.path] = want
	}
	now, err := org.Document(ctx, at) // as it is now, not as it was when the plan was made
	if err != nil {
		return err
	}
	if item.Adopted && r.marked != "" {
		set[r.marked] = strings.TrimSpace(now.Text(r.marked) + " " + p.spec.mark(r.key))
	}
	if len(set) > 0 {
		if _, moved := set["channel.config.uri"]; moved {
			maps.Copy(set, map[string]any{"channel.config.authScheme": hookAuth(o.Secret)})
		}
		if _, err := org.PutDocument(ctx, at, now.Changed(set)); err != nil {
			return err
		}
	}
	if activate {
		if err := org.ActivateDocument(ctx, at); err != nil {
			return fmt.Errorf("activating it: %w", err)
		}
	}
	return nil
}

func setSecret(d okta.Document, secret string) { d.Set("channel.config.authScheme", hookAuth(secret)) }

func hookAuth(secret string) map[string]any {
	return map[string]any{"type": "HEADER", "key": "Authorization", "value": secret}
}
