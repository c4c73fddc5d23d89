package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.temporal.io/server/common/config"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	sqliteschema "go.temporal.io/server/schema/sqlite"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bailiwick-dev/bailiwick/gate"
)

// retention is how long closed runs are kept in namespaces that this program creates.
const retention = 7 * 24 * time.Hour

// openDatabase makes the SQLite file with its schema on the first start, creates namespaces that are absent, and returns how the server is
// to open it.
func openDatabase(stateDir, cluster string, namespaces []string) (*config.SQL, error) {
	path := filepath.Join(stateDir, "temporal.db")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := makeDatabase(path); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, fmt.Errorf("looking for the database: %w", err)
	}
	sql := &config.SQL{
		PluginName: sqliteplugin.PluginName, DatabaseName: path,
		// synchronous=2 (FULL): what Temporal acknowledged survives a power loss.
		ConnectAttributes: map[string]string{"mode": "rw", "journal_mode": "wal", "synchronous": "2", "busy_timeout": "10000"},
	}
	var create []*sqliteschema.NamespaceConfig
	for _, name := range namespaces {
		ns, err := sqliteschema.NewNamespaceConfig(cluster, name, false, gate.SearchAttributes())
		if err != nil {
			return nil, fmt.Errorf("describing namespace %q: %w", name, err)
		}
		ns.Detail.Config.Retention = durationpb.New(retention)
		create = append(create, ns)
	}
	if err := sqliteschema.CreateNamespaces(sql, create...); err != nil {
		return nil, fmt.Errorf("creating namespaces: %w", err)
	}
	return sql, nil
}

// makeDatabase builds the schema beside the final place and then renames it, so that a crash never leaves a database with half a schema.
func makeDatabase(path string) error {
	draft := path + ".new"
	for _, f := range []string{draft, draft + "-journal"} {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the draft of an earlier start: %w", err)
		}
	}
	f, err := os.OpenFile(draft, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // SQLite would choose the mode by umask
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("making the database: %w", err)
	}
	err = sqliteschema.SetupSchema(&config.SQL{
		PluginName: sqliteplugin.PluginName, DatabaseName: draft,
		ConnectAttributes: map[string]string{"mode": "rw"},
		MaxConnLifetime:   time.Millisecond, // the plugin pools connections for good; this one is not needed again
	})
	if err != nil {
		return fmt.Errorf("setting up the database schema: %w", err)
	}
	if err := os.Rename(draft, path); err != nil {
		return fmt.Errorf("putting the database in place: %w", err)
	}
	return nil
}
