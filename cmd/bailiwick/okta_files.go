package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
	"github.com/bailiwick-dev/bailiwick/internal/oktasetup"
)

// oktaFiles is the directory that set-up writes: keys/NAME.pem and NAME.secret, mode 0600, made once and never overwritten; okta.json and roles.clients.yaml, without secrets,
// each time anew.
type oktaFiles struct{ dir string }

func (o oktaFiles) path(elem ...string) string {
	return filepath.Join(append([]string{o.dir}, elem...)...)
}

// key is the public half of a service's key. A key that is made stays, whatever becomes of the app that it is for: the next run uses it.
func (o oktaFiles) key(name string, create bool) (map[string]string, bool, error) {
	file := o.path("keys", name+".pem")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if !create {
			return nil, false, nil
		}
		if err := os.MkdirAll(o.path("keys"), 0o700); err != nil {
			return nil, false, err
		}
		// Keys in a source tree must not be committed by accident.
		if err := os.WriteFile(o.path(".gitignore"), []byte("keys/\n*.secret\n"), 0o600); err != nil {
			return nil, false, err
		}
	} else if err != nil {
		return nil, false, err
	}
	key, err := loadOrCreateRSA(file)
	if err != nil {
		return nil, false, err
	}
	jwk, _ := publicJWK(&key.PublicKey)
	delete(jwk, "status") // is for keys that are added to an app that is there
	return jwk, true, nil
}

// keep stores a secret that Okta tells once.
func (o oktaFiles) keep(name, secret string) error {
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	return durable.WriteFile(o.path(name+".secret"), []byte(secret+"\n"), 0o600)
}

// where tells what is here of an app.
func (o oktaFiles) where(name string) (keyFile, keyID, secretFile string) {
	if jwk, here, err := o.key(name, false); err == nil && here {
		keyFile, keyID = o.path("keys", name+".pem"), jwk["kid"]
	}
	if file := o.path(name + ".secret"); exists(file) {
		secretFile = file
	}
	return keyFile, keyID, secretFile
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// save writes what the rest is configured with.
func (o oktaFiles) save(plan *oktasetup.Plan) (oktasetup.Result, error) {
	result, err := plan.Result(o.where)
	if err != nil {
		return result, err
	}
	raw, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return result, fmt.Errorf("writing what was set up: %w", err)
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return result, fmt.Errorf("writing what was set up: %w", err)
	}
	if err := durable.WriteFile(o.path("roles.clients.yaml"), []byte(result.RolesYAML()), 0o600); err != nil {
		return result, fmt.Errorf("writing what was set up: %w", err)
	}
	if err := durable.WriteFile(o.path("okta.json"), append(raw, '\n'), 0o600); err != nil {
		return result, fmt.Errorf("writing what was set up: %w", err)
	}
	return result, nil
}

// loadOktaResult reads okta.json.
func loadOktaResult(file string) (oktasetup.Result, error) {
	var r oktasetup.Result
	raw, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return r, &coded{Code: "config_unreadable", Text: fmt.Sprintf("reading what was set up: %v", err), Fix: "name the okta.json that `bailiwick okta setup` wrote"}
	}
	if err := json.Unmarshal(raw, &r); err != nil || r.Version != 1 || r.Org == "" || r.Name == "" {
		return r, &coded{Code: "config_unreadable", Text: fmt.Sprintf("%s is not what `bailiwick okta setup` writes, of version 1", file), Fix: "run bailiwick okta setup again: it writes the file anew"}
	}
	return r, nil
}
