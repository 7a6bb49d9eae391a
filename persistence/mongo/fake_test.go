package mongo

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// scriptedMongo is a server that speaks just enough of MongoDB's protocol to say
// what a test wants to hear: errors, lost updates, retentions.
type scriptedMongo struct {
	replicaSet string // the name of the set that it is the primary of, "" for none
	batchRows  int    // the most operations that it takes in a command, 0 for MongoDB's 100,000
	batchBytes int    // the most bytes that it takes in a message, 0 for MongoDB's 48 MB

	address  string
	mu       sync.Mutex
	commands []bson.M                           // what came, handshakes and pings left out
	answer   func(name string, c bson.M) bson.M // nil answers "ok"
}

// dropped is an answer that never comes: the connection is closed instead.
var dropped = bson.M{"dropped": true}

// The operations of the protocol that a driver uses: OP_QUERY for the first
// handshake, answered by OP_REPLY, and OP_MSG for everything else.
const (
	opReply = 1
	opQuery = 2004
	opMsg   = 2013
)

// start listens until the test ends and returns the server's address.
func (s *scriptedMongo) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	var running sync.WaitGroup
	var conns sync.Map
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(conn, nil)
			running.Go(func() {
				defer conn.Close()
				if err := s.serve(conn); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
					t.Log("scripted server:", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Range(func(conn, _ any) bool { conn.(net.Conn).Close(); return true })
		running.Wait()
	})
	return "mongodb://" + l.Addr().String()
}

// named returns the commands of that name that have come.
func (s *scriptedMongo) named(name string) (found []bson.M) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commands {
		if c[name] != nil && (name == "findAndModify" || c["findAndModify"] == nil) { // which has an update
			found = append(found, c)
		}
	}
	return found
}

// forget forgets the commands that have come.
func (s *scriptedMongo) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = nil
}

// serve answers the messages of one connection. A message is a header of four
// numbers (length, request, the request it answers, operation) and a body.
func (s *scriptedMongo) serve(conn net.Conn) error {
	in := bufio.NewReader(conn)
	for {
		var header [4]int32
		if err := binary.Read(in, binary.LittleEndian, &header); err != nil {
			return err
		}
		body := make([]byte, header[0]-16)
		if _, err := io.ReadFull(in, body); err != nil {
			return err
		}
		var c bson.M
		if header[3] == opQuery {
			c = bson.M{"hello": 1}
		} else {
			var err error
			if c, err = readMsg(body); err != nil {
				return err
			}
		}
		if len(body) > s.limit(s.batchBytes, 48_000_000) {
			return fmt.Errorf("a message of %d bytes", len(body))
		}
		answer := s.reply(c)
		if answer["dropped"] != nil {
			return nil
		}
		if err := writeAnswer(conn, header, answer); err != nil {
			return err
		}
	}
}

// readMsg reads an OP_MSG: flags, then sections, a document (kind 0) or a named
// list of documents (kind 1), which becomes a member of the first.
func readMsg(b []byte) (c bson.M, err error) {
	lists := bson.M{}
	for b = b[4:]; len(b) > 0; {
		size := binary.LittleEndian.Uint32(b[1:])
		section := b[1 : 1+size]
		if b[0] == 0 {
			err = errors.Join(err, bson.Unmarshal(section, &c))
		} else {
			name, docs := cString(section[4:])
			list := []bson.M{}
			for len(docs) > 0 {
				n := binary.LittleEndian.Uint32(docs)
				var doc bson.M
				err = errors.Join(err, bson.Unmarshal(docs[:n], &doc))
				list, docs = append(list, doc), docs[n:]
			}
			lists[name] = list
		}
		b = b[1+size:]
	}
	for name, list := range lists {
		c[name] = list
	}
	return c, err
}

func cString(b []byte) (string, []byte) {
	for i := range b {
		if b[i] == 0 {
			return string(b[:i]), b[i+1:]
		}
	}
	return string(b), nil
}

// reply finds the answer to a command.
func (s *scriptedMongo) reply(c bson.M) bson.M {
	if c["hello"] != nil || c["isMaster"] != nil || c["ping"] != nil {
		return s.hello()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = append(s.commands, c)
	for _, name := range []string{"findAndModify", "insert", "update", "delete", "find", "aggregate", "count", "listIndexes", "createIndexes", "dropIndexes", "collMod", "endSessions"} {
		if c[name] == nil {
			continue
		}
		if s.answer != nil {
			if answer := s.answer(name, c); answer != nil {
				return answer
			}
		}
		for _, rows := range []string{"documents", "updates", "deletes"} {
			if list, ok := c[rows].([]bson.M); ok && len(list) > s.limit(s.batchRows, 100_000) {
				return bson.M{"ok": 0, "code": 16, "errmsg": "too many operations in a command"}
			}
		}
		return usualAnswer(name, c)
	}
	return bson.M{"ok": 0, "code": 59, "errmsg": "no such command"}
}

func (s *scriptedMongo) limit(own, usual int) int {
	if own > 0 {
		return own
	}
	return usual
}

// hello is what the server says of itself.
func (s *scriptedMongo) hello() bson.M {
	h := bson.M{"ok": 1, "isWritablePrimary": true, "ismaster": true, "helloOk": true, "minWireVersion": 0, "maxWireVersion": 21,
		"maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": s.limit(s.batchBytes, 48_000_000), "maxWriteBatchSize": s.limit(s.batchRows, 100_000)}
	if s.replicaSet != "" {
		h["setName"], h["setVersion"], h["secondary"] = s.replicaSet, 1, false
		h["hosts"], h["me"], h["primary"] = []string{s.address}, s.address, s.address
		h["logicalSessionTimeoutMinutes"] = 30
	}
	return h
}

func usualAnswer(name string, c bson.M) bson.M {
	switch name {
	case "insert":
		return bson.M{"ok": 1, "n": len(c["documents"].([]bson.M))}
	case "update":
		n := len(c["updates"].([]bson.M))
		return bson.M{"ok": 1, "n": n, "nModified": n}
	case "findAndModify":
		return bson.M{"ok": 1, "value": nil, "lastErrorObject": bson.M{"n": 0, "updatedExisting": false}}
	case "delete":
		n := 0
		for _, d := range c["deletes"].([]bson.M) {
			ids, _ := d["q"].(bson.D)
			n += len(idList(ids))
		}
		return bson.M{"ok": 1, "n": n}
	case "find", "listIndexes", "aggregate":
		return cursorAnswer()
	default:
		return bson.M{"ok": 1}
	}
}

func cursorAnswer(docs ...bson.M) bson.M {
	return bson.M{"ok": 1, "cursor": bson.M{"id": int64(0), "ns": "db.c", "firstBatch": append([]bson.M{}, docs...)}}
}

// writeAnswer writes an OP_MSG, or an OP_REPLY to an OP_QUERY.
func writeAnswer(conn net.Conn, to [4]int32, answer bson.M) error {
	doc, err := bson.Marshal(answer)
	if err != nil {
		return err
	}
	prefix, op := make([]byte, 5), int32(opMsg) // flags, kind
	if to[3] == opQuery {
		prefix, op = make([]byte, 20), opReply // flags, cursor, first, and how many
		prefix[16] = 1
	}
	message := binary.LittleEndian.AppendUint32(nil, uint32(16+len(prefix)+len(doc)))
	message = binary.LittleEndian.AppendUint32(message, 0)
	message = binary.LittleEndian.AppendUint32(message, uint32(to[1]))
	message = binary.LittleEndian.AppendUint32(message, uint32(op))
	_, err = conn.Write(append(append(message, prefix...), doc...))
	return err
}

func indexNamed(name string) *options.IndexOptionsBuilder { return options.Index().SetName(name) }

// idList returns the ids that a filter names in its $in, in the order in which they came.
func idList(filter bson.D) (ids []string) {
	for _, e := range filter {
		if in, ok := e.Value.(bson.D); ok && e.Key == "_id" && len(in) > 0 && in[0].Key == "$in" {
			for _, id := range in[0].Value.(bson.A) {
				ids = append(ids, id.(string))
			}
		}
	}
	return ids
}
