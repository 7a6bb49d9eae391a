package sqlite

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/fincart/courier-gateway/persistence"
)

// binder binds values to a statement's parameters, one after the other.
type binder struct {
	stmt *sqlite.Stmt
	n    int
}

// text binds NULL for "".
func (b *binder) text(s string) {
	if s != "" {
		b.key(s)
		return
	}
	b.n++
	b.stmt.BindNull(b.n)
}

// key binds text that is never NULL.
func (b *binder) key(s string) {
	b.n++
	b.stmt.BindText(b.n, persistence.CleanText(s))
}

func (b *binder) int(v int64) {
	b.n++
	b.stmt.BindInt64(b.n, v)
}

// time binds NULL for the zero time.
func (b *binder) time(t time.Time) { b.text(persistence.TimeText(t)) }

func (b *binder) flag(v bool) {
	b.n++
	b.stmt.BindBool(b.n, v)
}

// null binds NULL to the next n parameters.
func (b *binder) null(n int) {
	for range n {
		b.n++
		b.stmt.BindNull(b.n)
	}
}

func (b *binder) bytes(v []byte) {
	b.n++
	b.stmt.BindBytes(b.n, v)
}

// columns reads the columns of a row, one after the other, and keeps the first
// error.
type columns struct {
	stmt *sqlite.Stmt
	n    int
	err  error
}

func (c *columns) next() int { c.n++; return c.n - 1 }

func (c *columns) text() string { return c.stmt.ColumnText(c.next()) }

func (c *columns) int() int64 { return c.stmt.ColumnInt64(c.next()) }

func (c *columns) flag() bool { return c.int() != 0 }

func (c *columns) bytes() []byte {
	col := c.next()
	b := make([]byte, c.stmt.ColumnLen(col))
	c.stmt.ColumnBytes(col, b)
	return b
}

func (c *columns) time() time.Time {
	col := c.next()
	t, err := persistence.ParseTime(c.stmt.ColumnText(col))
	c.fail(col, err)
	return t
}

// json decodes a column into v, which NULL leaves as it is.
func (c *columns) json(v any) {
	col := c.next()
	if text := c.stmt.ColumnText(col); text != "" {
		c.fail(col, json.Unmarshal([]byte(text), v))
	}
}

// list decodes a column that holds a list.
func list[T any](c *columns, decode func(string) ([]T, error)) []T {
	col := c.next()
	rows, err := decode(c.stmt.ColumnText(col))
	c.fail(col, err)
	return rows
}

func (c *columns) fail(col int, err error) {
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("column %s holds what the appliance does not write: %w", c.stmt.ColumnName(col), err)
	}
}

// keyHash is what ledger rows and shipments are found by: the first 8 bytes of
// the SHA-256 of the key or id, for any courier. An index over it takes a
// third of the space of one over the keys, and no sender can choose keys that
// share a hash.
func keyHash(key string) int64 {
	sum := sha256.Sum256([]byte(key))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// bindKey binds the hash of key, and key and more as they are, to a statement
// that is about to run again.
func bindKey(stmt *sqlite.Stmt, key string, more ...string) {
	key = persistence.CleanText(key)
	b := binder{stmt: stmt}
	b.int(keyHash(key))
	b.key(key)
	for _, s := range more {
		b.key(s)
	}
}

// selectRows returns the rows of a query, whose parameters bind binds, by a reader's
// connection.
func selectRows[T any](ctx context.Context, db *database, op, query string, bind func(*binder), read func(*columns) T) (found []T, err error) {
	err = db.read(ctx, op, func(conn *sqlite.Conn) error {
		stmt, err := conn.Prepare(query)
		if err != nil {
			return err
		}
		bind(&binder{stmt: stmt})
		found, err = collect(found, stmt, read)
		return err
	})
	return found, err
}

// collect runs stmt to its end, appending its rows to found, and resets it.
func collect[T any](found []T, stmt *sqlite.Stmt, read func(*columns) T) ([]T, error) {
	for {
		more, err := stmt.Step()
		if err != nil {
			return found, err
		}
		if !more {
			return found, stmt.Reset()
		}
		c := columns{stmt: stmt}
		row := read(&c)
		if c.err != nil {
			_ = stmt.Reset() // repeats the error of the last step, there was none
			return found, c.err
		}
		found = append(found, row)
	}
}

// findByID returns the row of an id, the query's only parameter, and whether there is one.
func findByID[T any](conn *sqlite.Conn, query, id string, read func(*columns) T) (row T, exists bool, err error) {
	stmt, err := conn.Prepare(query)
	if err != nil {
		return row, false, err
	}
	b := binder{stmt: stmt}
	b.key(id)
	found, err := collect(nil, stmt, read)
	if err != nil || len(found) == 0 {
		return row, false, err
	}
	return found[0], true, nil
}

// execute runs a statement that returns no rows, whose parameters bind binds.
func execute(conn *sqlite.Conn, query string, bind func(*binder)) error {
	stmt, err := conn.Prepare(query)
	if err != nil {
		return err
	}
	bind(&binder{stmt: stmt})
	_, err = stmt.Step()
	return err
}
