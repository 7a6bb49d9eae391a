package main

import (
	"strings"
	"testing"
)

func TestReadCapture(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text             string
		method, path     string
		query, body      string
		header, fault    string
		whole, hasMoment bool
	}{
		"wire": {
			text:   "POST /v1/events/courier/a?token=x HTTP/1.1\r\nHost: h\r\nX-Sig:  ab \r\nContent-Length: 2\r\n\r\n{}",
			method: "POST", path: "/v1/events/courier/a", query: "token=x", body: "{}", header: "ab", whole: true,
		},
		"line feeds, no length": {text: "POST / HTTP/1.1\nX-Sig: ab\n\n{\"a\":\n1}\n", method: "POST", path: "/", body: "{\"a\":\n1}\n", header: "ab", whole: true},
		"the whole address":     {text: "POST https://hooks.example.com:8443/v1/p?token=x HTTP/1.1\r\nX-Sig: ab\r\n\r\n{}", method: "POST", path: "/v1/p", query: "token=x", body: "{}", header: "ab", whole: true},
		"a host alone":          {text: "POST HTTP://hooks.example.com?a=b HTTP/1.1\nX-Sig: ab\n\n{}", method: "POST", path: "/", query: "a=b", body: "{}", header: "ab", whole: true},
		"a byte order mark":     {text: "\ufeffPOST / HTTP/1.1\r\nX-Sig: ab\r\n\r\n\ufeff{}", method: "POST", path: "/", body: "\ufeff{}", header: "ab", whole: true},
		"empty lines first":     {text: "\ufeff\r\n\n\r\nPOST / HTTP/1.1\nX-Sig: ab\n\n\n{}", method: "POST", path: "/", body: "\n{}", header: "ab", whole: true},
		"another version":       {text: "POST  /p  HTTP/2 \nX-Sig: ab\n\n{}", method: "POST", path: "/p", body: "{}", header: "ab", whole: true},
		"no version":            {text: "POST https://h/p?q=1\nX-Sig: ab\n\n{}", method: "POST", path: "/p", query: "q=1", body: "{}", header: "ab", whole: true},
		"two words":             {text: "read /this\n\n{}", fault: "starts with"},
		"pseudo-headers": {
			text:   ":authority: hooks.example.com\n:method: POST\n:path: /v1/p?token=x\n:scheme: https\nx-sig: ab\ncontent-length: 2\n\n{}\n",
			method: "POST", path: "/v1/p", query: "token=x", body: "{}", header: "ab", whole: true,
		},
		"pseudo-headers between":  {text: ":method: GET\r\nx-sig: ab\r\n:path: /p\r\n\r\n", method: "GET", path: "/p", header: "ab", whole: true},
		"no path":                 {text: ":method: POST\nx-sig: ab\n\n{}", fault: "no :path"},
		"another scheme":          {text: "POST ftp://h/p HTTP/1.1\n\n", fault: "starts with"},
		"UTF-16":                  {text: "\xff\xfeP\x00O\x00S\x00T\x00", fault: "UTF-16"},
		"a mark in front of JSON": {text: "\ufeff\n" + `{"method":"PUT","path":"/p","headers":[{"name":"x-sig","value":"ab"}],"body":"e30="}`, method: "PUT", path: "/p", body: "{}", header: "ab", whole: true},
		"a mark alone":            {text: "\ufeff\r\n", fault: "empty"},
		"chunks": {
			text:   "POST / HTTP/1.1\r\nX-Sig: ab\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4;x=y\r\n\": 1\r\n1\r\n}\r\n0\r\n\r\n",
			method: "POST", path: "/", body: `{"a": 1}`, header: "ab", whole: true,
		},
		"chunks that are joined already": {text: "POST / HTTP/1.1\nX-Sig: ab\nTransfer-Encoding: chunked\n\n{\"a\":1}", method: "POST", path: "/", body: `{"a":1}`, header: "ab", whole: true},
		"more than its length":           {text: "POST / HTTP/1.1\nX-Sig: ab\nContent-Length: 2\n\n{}\n", method: "POST", path: "/", body: "{}", header: "ab", whole: true},
		"cut":                            {text: "POST / HTTP/1.1\nX-Sig: ab\nContent-Length: 9\n\n{}", method: "POST", path: "/", body: "{}", header: "ab"},
		"record":                         {text: `{"id":"1","at":"2026-03-01T10:00:00Z","request":{"method":"POST","path":"/p","headers":[{"name":"X-Sig","value":"ab"}],"body":"e30=","bodyBytes":2}}`, method: "POST", path: "/p", body: "{}", header: "ab", whole: true, hasMoment: true},
		"request":                        {text: `{"method":"PUT","path":"/p","headers":[{"name":"x-sig","value":"ab"}],"body":"e30="}`, method: "PUT", path: "/p", body: "{}", header: "ab", whole: true},
		"other json":                     {text: `{"hello":"world"}`, fault: "neither"},
		"nothing":                        {text: "", fault: "empty"},
		"a body alone":                   {text: "hello", fault: "starts with"},
		"no empty line":                  {text: "POST / HTTP/1.1\nX-Sig: ab\n[1]", fault: "no header"},
		"a response in place of one":     {text: "HTTP/1.1 200 OK\n\n", fault: "starts with"},
	} {
		t.Run(name, func(t *testing.T) {
			r, when, err := readCapture(strings.NewReader(tt.text))
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) {
					t.Errorf("error is %v, want one with %q", err, tt.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			header := ""
			for _, h := range r.Headers {
				if strings.EqualFold(h.Name, "x-sig") {
					header = h.Value
				}
			}
			if r.Method != tt.method || r.Path != tt.path || r.Query != tt.query || string(r.Body) != tt.body ||
				header != tt.header || r.Whole() != tt.whole || when.IsZero() == tt.hasMoment {
				t.Errorf("got %+v at %v", r, when)
			}
		})
	}
}

func FuzzReadCapture(f *testing.F) {
	f.Add("POST /v1/events/courier/a?token=x HTTP/1.1\r\nX-Sig: ab\r\nContent-Length: 2\r\n\r\n{}")
	f.Add(":method: POST\n:path: /\n\n{}")
	f.Add("\ufeff\nPOST http://h HTTP/1.1\n:\n\n")
	f.Add(`{"request":{"method":"POST","path":"/p","headers":[],"body":"e30="}}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, _, err := readCapture(strings.NewReader(text))
		if err == nil && (r == nil || len(r.Body) > len(text) || r.BodyBytes < 0) {
			t.Errorf("read as %+v", r)
		}
	})
}
