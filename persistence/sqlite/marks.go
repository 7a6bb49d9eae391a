package sqlite

import (
	"context"
	"errors"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/fincart/courier-gateway/persistence"
)

// Marks keeps the marks of queues.
type Marks struct{ db *database }

// CompareMark implements [persistence.Marks].
func (m *Marks) CompareMark(ctx context.Context, queue string, verified uint64) (gap persistence.Gap, err error) {
	err = m.db.write(ctx, "compare_mark", func(conn *sqlite.Conn) error {
		mark, known, err := readMark(conn, queue)
		if err != nil {
			return err
		}
		gap = mark.gap
		switch {
		case known && verified <= mark.verified:
			return nil
		case !known && verified > 0:
			if mark.verified, err = adopted(conn, verified); err != nil {
				return err
			}
		}
		if verified > mark.verified {
			if gap.To == 0 {
				gap.From = mark.verified + 1
			}
			gap.To = verified
		}
		return putMark(conn, queue, verified, gap)
	})
	return gap, err
}

// RaiseMark implements [persistence.Marks].
func (m *Marks) RaiseMark(ctx context.Context, queue string, verified uint64) error {
	return m.db.write(ctx, "raise_mark", func(conn *sqlite.Conn) error {
		return putMark(conn, queue, verified, persistence.Gap{})
	})
}

// AcceptGap implements [persistence.Marks].
func (m *Marks) AcceptGap(ctx context.Context, queue string) error {
	return m.db.write(ctx, "accept_gap", func(conn *sqlite.Conn) error {
		return sqlitex.Execute(conn, "UPDATE queue_marks SET missing_from = NULL, missing_to = NULL WHERE queue = ?",
			&sqlitex.ExecOptions{Args: []any{queue}})
	})
}

type queueMark struct {
	verified uint64
	gap      persistence.Gap
}

func readMark(conn *sqlite.Conn, queue string) (m queueMark, known bool, err error) {
	err = sqlitex.Execute(conn, "SELECT verified, missing_from, missing_to FROM queue_marks WHERE queue = ?", &sqlitex.ExecOptions{
		Args: []any{queue},
		ResultFunc: func(stmt *sqlite.Stmt) error {
			known = true
			m = queueMark{uint64(stmt.ColumnInt64(0)), persistence.Gap{From: uint64(stmt.ColumnInt64(1)), To: uint64(stmt.ColumnInt64(2))}}
			return nil
		},
	})
	return m, known, err
}

// adopted returns the mark of a queue in a store that has none for it yet.
func adopted(conn *sqlite.Conn, verified uint64) (uint64, error) {
	marks, err := number(conn, "SELECT count(*) FROM queue_marks")
	rows, err2 := number(conn, "SELECT count(*) FROM row_counts")
	if err = errors.Join(err, err2); err != nil || marks > 0 || rows == 0 {
		return 0, err
	}
	return verified, nil
}

// putMark raises a mark, and stores a gap unless it is zero.
func putMark(conn *sqlite.Conn, queue string, verified uint64, gap persistence.Gap) error {
	return sqlitex.Execute(conn, `INSERT INTO queue_marks (queue, verified, missing_from, missing_to)
		VALUES (?, ?, nullif(?, 0), nullif(?, 0)) ON CONFLICT (queue) DO UPDATE SET
		verified = max(verified, excluded.verified),
		missing_from = coalesce(excluded.missing_from, missing_from), missing_to = coalesce(excluded.missing_to, missing_to)`,
		&sqlitex.ExecOptions{Args: []any{queue, int64(verified), int64(gap.From), int64(gap.To)}})
}
