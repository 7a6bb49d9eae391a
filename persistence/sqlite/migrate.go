package sqlite

import (
	"embed"
	"errors"
	"fmt"
	"sync"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// applicationID marks a file as one of ours ("CGW1"), for file(1) and against
// opening another program's database.
const applicationID = 0x43475731

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations take a file from one schema version to the next, in the order of their
// numbers; the version is how many of them a file has been through. A migration that was
// released is never changed, a new one is added behind it.
//
// The tables are for people too: text is text, times are RFC 3339, lists are
// JSON, and absent values are NULL. Rows of the two large tables are appended,
// and found by key_hash (see [keyHash]), which only the code keeps free of
// duplicates: one connection writes, and it looks before it inserts. row_counts
// is kept up to date by the same transactions that write the rows, because
// counting millions of them would take seconds and triggers would halve the
// speed of writing.
var migrations = sync.OnceValue(func() (scripts []string) {
	const folder = "migrations"
	files, err := migrationFiles.ReadDir(folder) // sorted by name
	for _, f := range files {
		script, readErr := migrationFiles.ReadFile(folder + "/" + f.Name())
		scripts, err = append(scripts, string(script)), errors.Join(err, readErr)
	}
	if err != nil {
		panic(err) // they are in the program
	}
	return scripts
})

// migrate brings the file behind conn to the newest schema. It refuses a file of
// another program and one that a newer version has written.
func migrate(conn *sqlite.Conn) error {
	return transact(conn, "BEGIN IMMEDIATE", func() error {
		version, err := number(conn, "PRAGMA user_version")
		if err != nil {
			return err
		}
		if err := recognise(conn, version); err != nil {
			return err
		}
		for _, script := range migrations()[version:] {
			if err := sqlitex.ExecuteScript(conn, script, nil); err != nil {
				return err
			}
		}
		return sqlitex.ExecuteScript(conn, fmt.Sprintf(
			"PRAGMA application_id = %d; PRAGMA user_version = %d;", applicationID, len(migrations())), nil)
	})
}

// foreignFileError is the error of a file that only another program can use.
type foreignFileError struct{ message string }

func (e *foreignFileError) Error() string { return e.message }

// recognise returns an error when the file behind conn can not be used at all.
func recognise(conn *sqlite.Conn, version int) error {
	owner, err := number(conn, "PRAGMA application_id")
	if err != nil {
		return err
	}
	tables, err := number(conn, "SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	if owner != applicationID && (tables > 0 || version != 0) {
		return &foreignFileError{"the file is another program's database: name a file of the appliance's own, or one that does not exist yet"}
	}
	if version > len(migrations()) {
		return &foreignFileError{fmt.Sprintf("the file has schema version %d, this program knows versions up to %d: start the newer program that wrote it, or restore a copy from before", version, len(migrations()))}
	}
	return nil
}

// number returns the number that a query answers.
func number(conn *sqlite.Conn, query string) (int, error) {
	stmt, _, err := conn.PrepareTransient(query)
	if err != nil {
		return 0, err
	}
	n, err := sqlitex.ResultInt(stmt)
	return n, errors.Join(err, stmt.Finalize())
}
