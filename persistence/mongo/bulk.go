package mongo

import (
	"cmp"
	"slices"

	"github.com/fincart/courier-gateway/persistence"
)

// A bulk write is sent in order of _id, because a server that locks row by row holds
// what it has locked until the command ends: two bulks of the same rows in different
// orders would wait for each other. And it is sent in pieces small enough that the
// driver sends each as one command: a bulk that the driver splits reports the write
// concern of its last command, and a missing majority for an earlier one goes unseen.

// bulkLimits bound what one command may hold.
type bulkLimits struct {
	rows  int // operations
	bytes int // their rows in encoded form, with what a command adds to each
}

// What one command may hold wherever the server allows more. A single row, of at most
// persistence.MaxRowBytes, always fits.
const (
	maxBulkRows  = 100_000
	maxBulkBytes = persistence.MaxRowBytes
)

// What a command adds to a row: the filter with its id and version, and the names and
// lengths of its members; and what it holds beside rows.
const (
	rowOverhead     = 256
	commandOverhead = 16 << 10
)

// serverHello is a server's answer to "hello".
type serverHello struct {
	SetName         string `bson:"setName"`             // of its replica set
	Kind            string `bson:"msg"`                 // "isdbgrid" from a router of shards
	MaxBatchRows    int64  `bson:"maxWriteBatchSize"`   // operations in a command
	MaxMessageBytes int64  `bson:"maxMessageSizeBytes"` // of a command
}

// replicated reports whether there may be more than one member, so that writes and
// index builds can wait for a majority.
func (h serverHello) replicated() bool { return h.SetName != "" || h.Kind == "isdbgrid" }

func (h serverHello) limits() bulkLimits {
	l := bulkLimits{rows: maxBulkRows, bytes: maxBulkBytes}
	if h.MaxBatchRows > 0 {
		l.rows = int(min(h.MaxBatchRows, maxBulkRows))
	}
	if space := h.MaxMessageBytes - commandOverhead; space > 0 {
		l.bytes = int(min(space, maxBulkBytes))
	}
	return l
}

// pieces cuts a bulk into runs that fit into a command each, in order of id.
func pieces[R any](rows []R, l bulkLimits, id func(R) string, size func(R) int) (cut [][]R) {
	rows = slices.SortedStableFunc(slices.Values(rows), func(a, b R) int { return cmp.Compare(id(a), id(b)) })
	begin, bytes := 0, 0
	for i, r := range rows {
		n := size(r) + len(id(r)) + rowOverhead
		if i > begin && (i-begin >= l.rows || bytes+n > l.bytes) {
			cut = append(cut, rows[begin:i])
			begin, bytes = i, 0
		}
		bytes += n
	}
	if begin < len(rows) {
		cut = append(cut, rows[begin:])
	}
	return cut
}
