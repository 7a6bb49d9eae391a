package jetstream

import "testing"

func TestSlotsTakeOnlyTheirOwnAnswers(t *testing.T) {
	t.Parallel()
	p := newSlots("_INBOX.x", 3)
	<-p.free
	s := p.take()
	find := func(subject string) *slot { return p.find([]byte(subject)) }
	if got := find(s.reply); got != s {
		t.Errorf("find(%s) = %v", s.reply, got)
	}
	p.replace(s)
	if got := find(s.reply); got != nil {
		t.Errorf("the late answer to a replaced slot finds %+v", got)
	}
	next := p.all[s.index].Load()
	if next == s || next.reply == s.reply || len(p.free) != 3 {
		t.Errorf("%s is replaced by %s, %d free", s.reply, next.reply, len(p.free))
	}
	for _, subject := range []string{"", "_INBOX.x", "_INBOX.x.", "_INBOX.x.3-0", "_INBOX.x.-1-0", "_INBOX.x.0", "_INBOX.x.0-9", "_INBOX.x.zz-0"} {
		if got := find(subject); got != nil {
			t.Errorf("find(%q) = %+v", subject, got)
		}
	}
}

func TestFillingASlotAllocates(t *testing.T) {
	s, e := newSlot(0, "in.0-0"), envelope("k")
	fill := func() {
		if err := s.fill(e, "demo:k"); err != nil {
			t.Fatal(err)
		}
		s.clear()
	}
	fill()
	if n := testing.AllocsPerRun(100, fill); n > 1 {
		t.Errorf("%v allocations, want one: the time as text", n)
	}
}
