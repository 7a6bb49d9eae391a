package embedconn

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseAck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in      string
		quick   bool // read without encoding/json
		want    Ack
		refusal string
	}{
		{`{"stream":"EVENTS", "seq":22}`, true, Ack{Sequence: 22}, ""},
		{`{"stream":"EVENTS", "seq":22,"duplicate": true}`, true, Ack{Sequence: 22, Duplicate: true}, ""},
		{`{"stream":"EVENTS", "domain":"hub", "seq":18446744073709551615}`, true, Ack{Sequence: 1<<64 - 1}, ""},
		{`{"seq":3,"stream":"EVENTS"}`, true, Ack{Sequence: 3}, ""},
		{`{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"EVENTS","seq":0}`, false, Ack{}, "full"},
		{`{"error":{"code":429,"err_code":10167,"description":"too many requests"},"seq":0}`, false, Ack{}, "busy"},
		{`{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"}}`, false, Ack{Busy: true}, "in process"},
		{`{"stream":"EVENTS", "seq":4,"duplicate": false}`, true, Ack{Sequence: 4}, ""},
		{`{"stream":"EVENTS", "seq":4,"value":"7"}`, false, Ack{Sequence: 4}, ""},
		{`{"stream":"EVENTS", "seq":4,"duplicate": "true"}`, false, Ack{}, "can't be read"},
		{`{"stream":"EVENTS", "seq":18446744073709551616}`, false, Ack{}, "can't be read"},
		{`{"stream":"EVENTS", "seq":0}`, false, Ack{}, "no sequence"},
		{`-ERR`, false, Ack{}, "can't be read"},
		{``, false, Ack{}, "can't be read"},
	} {
		got := ParseAck([]byte(c.in))
		if got.Sequence != c.want.Sequence || got.Duplicate != c.want.Duplicate || got.Busy != c.want.Busy {
			t.Errorf("%s: %+v, want %+v", c.in, got, c.want)
		}
		if (got.Err != nil) != (c.refusal != "") || got.Err != nil && !strings.Contains(got.Err.Error(), c.refusal) {
			t.Errorf("%s: error %v, want %q", c.in, got.Err, c.refusal)
		}
		if _, quick := parseStoredAck([]byte(c.in)); quick != c.quick {
			t.Errorf("%s: read in place %v, want %v", c.in, quick, c.quick)
		}
	}
}

func TestParseAckAllocates(t *testing.T) {
	b := []byte(`{"stream":"EVENTS", "seq":123456789,"duplicate": true}`)
	if n := testing.AllocsPerRun(100, func() { ParseAck(b) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// FuzzParseAck checks that what is read in place is what encoding/json reads.
func FuzzParseAck(f *testing.F) {
	for _, s := range []string{
		`{"stream":"EVENTS", "seq":22}`, `{"stream":"E","domain":"d","seq":1,"duplicate":true}`,
		`{"stream":"a\"b","seq":1}`, `{"stream":"x","seq":01}`, `{"seq":1,"seq":2,"duplicate":null}`, `{"stream":["x"],"seq":1,"duplicate":1}`, `{"stream":"x","seq":99999999999999999999}`, `{"error":{}}`, `{`, "\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := parseStoredAck(b)
		ParseAck(b)
		if !ok {
			return
		}
		var want struct {
			Seq       uint64
			Duplicate bool
		}
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("%q is read in place but is no JSON: %v", b, err)
		}
		if got.Sequence != want.Seq || got.Duplicate != want.Duplicate {
			t.Fatalf("%q: %+v, want %+v", b, got, want)
		}
	})
}
