package jetstream

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fincart/courier-gateway/ingest/event"
)

// slot is the place of one publish between its sending and its answer. What a
// publish needs is made once with the slot: the message, its headers, the
// subject of the answer.
//
// A slot belongs to one publish at a time. Whoever turns waiting off decides the
// outcome: the reply callback for an answer, the publish itself when it gives
// up, the disconnect handler when no answer can come. A slot whose publish got
// no answer is retired: a slot of another reply subject takes its place, so that
// a late answer meets nobody.
type slot struct {
	index   int
	reply   string // subject of the answer
	msg     nats.Msg
	values  [maxHeaders][1]string // what msg.Header's values point at
	waiting atomic.Bool           // an answer is expected
	answer  ack                   // set before done
	lost    bool                  // no answer came and one may still; set before done
	done    chan struct{}         // one token when the outcome is known
	timer   *time.Timer           // of the publish
}

// maxHeaders is the number of headers on a message: the envelope's and the id.
const maxHeaders = 10

func newSlot(index int, reply string) *slot {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &slot{
		index: index, reply: reply, timer: t, done: make(chan struct{}, 1),
		msg: nats.Msg{Reply: reply, Header: make(nats.Header, maxHeaders)},
	}
}

// fill makes the slot's message of e. The message refers to e's bytes until
// forget. It fails for a header that would not come out as it goes in.
func (s *slot) fill(e *event.Envelope, id string) (err error) {
	s.answer, s.lost = ack{}, false
	s.msg.Subject = subjectPrefix + e.Courier
	s.msg.Data = e.Body
	n := 0
	set := func(name, value string) bool {
		if strings.TrimSpace(value) != value || strings.ContainsAny(value, "\r\n") {
			err = event.Errorf(event.InvalidPayload, "publish", "header %s: %q has a line break, or white space at an end", name, value)
			return false
		}
		s.values[n][0] = value
		s.msg.Header[name] = s.values[n][:]
		n++
		return true
	}
	if set(event.HeaderMsgID, id) {
		e.Headers(set)
	}
	return err
}

// forget drops every reference to the caller's bytes.
func (s *slot) forget() {
	s.msg.Subject, s.msg.Data = "", nil
	clear(s.msg.Header)
	clear(s.values[:])
}

// resolve hands the outcome to the publish that waits on s.
func (s *slot) resolve() { s.done <- struct{}{} }

// slots is the fixed set of slots under one wildcard inbox. Subjects are
// "<inbox>.<index>-<generation>".
type slots struct {
	inbox string // without the last dot
	all   []atomic.Pointer[slot]
	free  chan *slot
	gens  []uint32 // by index; touched by the slot's owner only
}

func newSlots(inbox string, n int) *slots {
	p := &slots{inbox: inbox, all: make([]atomic.Pointer[slot], n), free: make(chan *slot, n), gens: make([]uint32, n)}
	for i := range n {
		p.put(p.make(i))
	}
	return p
}

func (p *slots) make(index int) *slot {
	gen := p.gens[index]
	p.gens[index]++
	s := newSlot(index, p.inbox+"."+strconv.Itoa(index)+"-"+strconv.FormatUint(uint64(gen), 36))
	p.all[index].Store(s)
	return s
}

// put gives back a slot that was answered.
func (p *slots) put(s *slot) { p.free <- s }

// retire replaces a slot that was not answered.
func (p *slots) retire(s *slot) { p.put(p.make(s.index)) }

// find returns the slot that waits on subject, nil when none does (any more).
func (p *slots) find(subject string) *slot {
	if len(subject) <= len(p.inbox) {
		return nil
	}
	number, _, _ := strings.Cut(subject[len(p.inbox)+1:], "-")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(p.all) {
		return nil
	}
	if s := p.all[i].Load(); s.reply == subject {
		return s
	}
	return nil
}
