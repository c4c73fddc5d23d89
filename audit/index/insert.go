package index

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
)

// insertRows is how many rows one statement inserts: a few parse and round-trip costs for many rows, and far from both databases' limits
// on parameters.
const insertRows = 128

// inserter collects rows and inserts many at once. The first error sticks and is told by finish.
type inserter struct {
	ctx     context.Context
	tx      *sql.Tx
	into    string
	columns int
	args    []any
	full    *sql.Stmt // for insertRows rows
	err     error
}

func newInserter(ctx context.Context, tx *sql.Tx, into string, columns int) *inserter {
	return &inserter{ctx: ctx, tx: tx, into: into, columns: columns, args: make([]any, 0, columns*insertRows)}
}

func (i *inserter) add(row ...any) {
	if i.args = append(i.args, row...); len(i.args) < i.columns*insertRows || i.err != nil {
		return
	}
	if i.full == nil {
		if i.full, i.err = i.tx.PrepareContext(i.ctx, i.statement(insertRows)); i.err != nil {
			return
		}
	}
	_, i.err = i.full.ExecContext(i.ctx, i.args...)
	i.args = i.args[:0]
}

func (i *inserter) finish() error {
	if i.full != nil {
		defer i.full.Close()
	}
	if i.err == nil && len(i.args) > 0 {
		_, i.err = i.tx.ExecContext(i.ctx, i.statement(len(i.args)/i.columns), i.args...)
	}
	return i.err
}

func (i *inserter) statement(rows int) string {
	var b strings.Builder
	b.WriteString(i.into)
	for r := range rows {
		if r > 0 {
			b.WriteByte(',')
		}
		b.WriteString("(" + marks(1+r*i.columns, i.columns) + ")")
	}
	return b.String()
}

// marks returns n placeholders, "$from,$from+1,…", which both databases understand.
func marks(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(from + i))
	}
	return b.String()
}
