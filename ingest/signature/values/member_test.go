package values

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestMember(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		object, path, want string
		count              int
	}{
		{`{"a":1,"b":"x"}`, "b", `"x"`, 1},
		{" {\n\"a\" : [1, {\"b\":2}] ,\"b\":\t{ \"c\" : null } } ", "b", `{ "c" : null }`, 1},
		{" {\n\"a\" : [1, {\"b\":2}] ,\"b\":\t{ \"c\" : null } } ", "b.c", `null`, 1},
		{`{"a":{"b":1},"b":-2.5e3}`, "b", `-2.5e3`, 1},
		{`{"a":"}\"{\\","b":true}`, "b", `true`, 1},
		{`{"a":"\\\\\\","b":"\\\""}`, "b", `"\\\""`, 1},
		{`{}`, "a", ``, 0},
		{`[{"a":1}]`, "a", ``, 0},
		{`"a"`, "a", ``, 0},
		{`{"a":1}`, "a.b", ``, 0},
		{`{"a":1,"a":2}`, "a", `1`, 2},
		{`{"a":1,"\u0061":2}`, "a", `1`, 2},
		{`{"a":{"b":1},"a":{"b":2}}`, "a.b", `{"b":1}`, 2},
		{`{"\u0061":[]}`, "a", `[]`, 1},
		{`{"a\/b":1}`, "a/b", `1`, 1},
		{`{"A":1}`, "a", ``, 0},
		{`{"\ud83d\udce6":1,"é":2,"a":3}`, "a", `3`, 1},
		{`{"a\u0000":1}`, "a", ``, 0},
	} {
		if !json.Valid([]byte(tc.object)) {
			t.Fatalf("%s is no JSON", tc.object)
		}
		got, count := Descend([]byte(tc.object), strings.Split(tc.path, "."))
		if string(got) != tc.want || count != tc.count {
			t.Errorf("%s in %s is %q, %d times; want %q, %d times", tc.path, tc.object, got, count, tc.want, tc.count)
		}
	}
}

func TestSetMember(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ object, path, want string }{
		{`{}`, "a", `{"a":7}`},
		{` { } `, "a", ` {"a":7 } `},
		{`{"b":1}`, "a", `{"a":7,"b":1}`},
		{`{"b":1, "a" : [2,3] }`, "a", `{"b":1, "a" : 7 }`},
		{`{"b":1}`, "c.d.e", `{"c":{"d":{"e":7}},"b":1}`},
		{`{"c":{"x":1,"d":2}}`, "c.d", `{"c":{"x":1,"d":7}}`},
		{`{"c":1}`, "c.d", ``},
		{`{"a":1,"a":2}`, "a", ``},
		{`[]`, "a", ``},
		{`{`, "a", ``},
		{``, "a", ``},
	} {
		before := strings.Clone(tc.object)
		got, err := SetMember([]byte(tc.object), strings.Split(tc.path, "."), []byte("7"))
		if string(got) != tc.want || (err != nil) != (tc.want == "") {
			t.Errorf("%s with %s is %s, %v; want %s", tc.object, tc.path, got, err, tc.want)
		}
		if tc.object != before {
			t.Errorf("%s was changed to %s", before, tc.object)
		}
	}
}

// FuzzMember compares the look-up with the standard library's reading.
func FuzzMember(f *testing.F) {
	for _, seed := range []string{
		`{"data":{"data":1},"x":[{"data":2}],"data":"3"}`, `{"d\u0061ta":"\"\\","data":null}`, ` { "data" : [ ] } `, `[1]`, `"data"`, `{"data\\":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		value, count := Member(object, "data") // must not panic, whatever it is
		if !json.Valid(object) {
			return
		}
		want, times := membersOf(t, object, "data")
		if count != times || count > 0 && !bytes.Equal(value, want) {
			t.Fatalf("data in %s is %q, %d times; want %q, %d times", object, value, count, want, times)
		}
		if count == 1 {
			checkText(t, value)
		}
	})
}

// membersOf finds a member by the standard library's tokens.
func membersOf(t *testing.T, object []byte, name string) (first []byte, count int) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(object))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, 0
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		if key == name {
			if count == 0 {
				first = value
			}
			count++
		}
	}
	return first, count
}

// checkText compares the text of a string in ASCII.
func checkText(t *testing.T, raw []byte) {
	t.Helper()
	text, ok := Inside(raw)
	var want string
	if isString := json.Unmarshal(raw, &want) == nil && raw[0] == '"'; ok != isString {
		t.Fatalf("%s is a string: %v, want %v", raw, ok, isString)
	}
	_, got, isASCII := AppendText(nil, text)
	if bytes.IndexByte(text, '\\') < 0 {
		return // taken as it stands
	}
	if isASCII != (strings.IndexFunc(want, func(r rune) bool { return r >= 0x80 }) < 0) || isASCII && string(got) != want {
		t.Fatalf("%s means %q (ASCII: %v), want %q", raw, got, isASCII, want)
	}
}
