package jetstream

import (
	"bytes"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/embedconn"
)

// slot is the place of one publish between its sending and its answer. What a
// publish needs is made once with the slot: the subject of the answer, the place
// for its headers.
//
// A slot belongs to one publish at a time. The one that turns waiting off decides the
// outcome: the reply callback for an answer, the publish itself when it gives
// up, the disconnect handler when no answer can come. A slot whose publish got
// no answer is replaced by one of another reply subject, so that a late answer finds
// no slot.
type slot struct {
	index       int
	reply       string        // subject of the answer
	headers     [][2]string   // name and value of each header of the publish
	fingerprint uint64        // of its id, see package dedup
	id          string        // message id of the publish
	waiting     atomic.Bool   // an answer is expected
	answer      embedconn.Ack // set before done
	lost        bool          // no answer came and one may still; set before done
	done        chan struct{}
	timer       *time.Timer // of the publish; nil until the first
}

func newSlot(index int, reply string) *slot {
	return &slot{index: index, reply: reply, done: make(chan struct{}, 1)}
}

// expireIn sets the slot's timer.
func (s *slot) expireIn(d time.Duration) {
	if s.timer == nil {
		s.timer = time.NewTimer(d)
	} else {
		s.timer.Reset(d)
	}
}

// fill makes the slot ready for a publish of e. The headers refer to e's bytes
// until clear. It fails for a header that would not come out as it goes in.
func (s *slot) fill(e *event.Envelope, id string) (err error) {
	if s.headers == nil {
		s.headers = make([][2]string, 0, maxHeaders)
	}
	if !event.ValidCourier(e.Courier) {
		return event.Errorf(event.InvalidPayload, "publish", "%q is no courier's name", e.Courier)
	}
	set := func(name, value string) bool {
		if strings.TrimSpace(value) != value || strings.ContainsAny(value, "\r\n") {
			err = event.Errorf(event.InvalidPayload, "publish", "header %s: %q has a line break, or white space at an end", name, value)
			return false
		}
		s.headers = append(s.headers, [2]string{name, value})
		return true
	}
	if set(msgIDHeader, id) {
		e.Headers(set)
	}
	return err
}

// clear drops every reference to the caller's bytes.
func (s *slot) clear() {
	clear(s.headers)
	s.headers = s.headers[:0]
}

// resolve gives the outcome to the publish that waits on s.
func (s *slot) resolve() { s.done <- struct{}{} }

// slots is the fixed set of slots under one wildcard inbox. Subjects are
// "<inbox>.<index>-<generation>". Those used last are used first, so that few
// subjects are in use at a time: the server caches where 1,024 of them lead.
type slots struct {
	inbox string // without the last dot
	all   []atomic.Pointer[slot]
	gens  []uint32      // by index; touched by the slot's owner only
	free  chan struct{} // a token for each slot in idle

	mu   sync.Mutex
	idle []*slot
}

func newSlots(inbox string, n int) *slots {
	p := &slots{inbox: inbox, all: make([]atomic.Pointer[slot], n), free: make(chan struct{}, n), gens: make([]uint32, n)}
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

// take returns a free slot to the caller, who has received a token of free.
func (p *slots) take() *slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	s := p.idle[last]
	p.idle = p.idle[:last]
	return s
}

// put gives back a slot that was answered.
func (p *slots) put(s *slot) {
	p.mu.Lock()
	p.idle = append(p.idle, s)
	p.mu.Unlock()
	p.free <- struct{}{}
}

// replace puts a new slot in place of one that was not answered.
func (p *slots) replace(s *slot) { p.put(p.make(s.index)) }

// find returns the slot that waits on subject, nil when none does (any more).
func (p *slots) find(subject []byte) *slot {
	if len(subject) <= len(p.inbox) {
		return nil
	}
	number, _, _ := bytes.Cut(subject[len(p.inbox)+1:], []byte("-"))
	i, err := strconv.Atoi(string(number))
	if err != nil || i < 0 || i >= len(p.all) {
		return nil
	}
	if s := p.all[i].Load(); s.reply == string(subject) {
		return s
	}
	return nil
}
