package sdktest

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// mutation is a request that somebody has made of a signed one, or a holder of the secret
// has signed in another way.
type mutation struct {
	kind, name string
	request    request
	signed     content   // what a holder of the secret has signed of it
	signedAt   time.Time // and when
}

// checkCovered fails where an event is not the one that was signed.
func (m *mutation) checkCovered(t *testing.T, e *event.Envelope, id, key string, base content, now time.Time) {
	t.Helper()
	switch id {
	case base.id: // the signed header names the event
		id, key = m.signed.id, m.signed.id
	case event.BodyHash(base.body):
		id, key = event.BodyHash(m.signed.body), event.BodyHash(m.signed.body)
	}
	if !bytes.Equal(e.Body, m.signed.body) || e.EventID != id || e.Key != key {
		t.Errorf("%s, %s: event %s with key %s and body %q is accepted; signed is %s, %s, %q", m.kind, m.name, e.EventID, e.Key, e.Body, id, key, m.signed.body)
	}
	if age := now.Sub(m.signedAt).Abs(); age > signature.DefaultTolerance+patience {
		t.Errorf("%s, %s: accepted %v from when it was signed", m.kind, m.name, age)
	}
}

// maker gathers the mutations of one request.
type maker struct {
	*sender
	base request
	c    content
	now  time.Time
	list []mutation
}

func (s *sender) mutations(t *testing.T, base request, c content, now time.Time) []mutation {
	m := &maker{sender: s, base: base, c: c, now: now}
	m.headerNames()
	for _, name := range []string{s.names.signature, s.names.id, s.names.time} {
		if name != "" {
			m.header(name)
		}
	}
	m.unsignedHeaders()
	m.signatureForms()
	m.otherSignatures()
	m.lists()
	m.times()
	m.bodies(t)
	m.media()
	m.framing()
	if s.prefix != "" {
		m.otherNames()
	}
	if s.fields {
		m.inFields()
	}
	return m.list
}

// add adds what somebody without the secret can make.
func (m *maker) add(kind, name string, r request) {
	m.list = append(m.list, mutation{kind, name, r, m.c, m.now})
}

// resigned adds what a holder of the secret has signed: content c, at a time.
func (m *maker) resigned(kind, name string, r request, c content, at time.Time) {
	m.list = append(m.list, mutation{kind, name, r, c, at})
}

// headerNames: missing, in another case and in another order.
func (m *maker) headerNames() {
	for i, h := range m.base.headers {
		for _, name := range []string{strings.ToLower(h.Name), strings.ToUpper(h.Name), strings.ToUpper(h.Name[:1]) + strings.ToLower(h.Name[1:])} {
			r := m.base.clone()
			r.headers[i].Name = name
			m.add("header's name in another case", name, r)
		}
		for _, name := range []string{strings.ReplaceAll(h.Name, "-", "_"), "X-" + h.Name, h.Name + "-2", h.Name[1:]} {
			r := m.base.clone()
			r.headers[i].Name = name
			m.add("header by another name", name, r)
		}
		r := m.base.clone()
		r.headers[i].Name += " "
		m.add("space behind a header's name", h.Name, r)
	}
	reversed := m.base.clone()
	slices.Reverse(reversed.headers)
	m.add("headers in another order", "reversed", reversed)
	for i := range m.base.headers {
		r := m.base.clone()
		r.headers = append(r.headers[i:], r.headers[:i]...)
		m.add("headers in another order", fmt.Sprint("rotated by ", i), r)
	}
}

// header: one that is needed, with other values.
func (m *maker) header(name string) {
	v := m.base.get(name)
	add := func(kind, what string, values ...string) { m.add(kind, name+" "+what, m.base.with(name, values...)) }
	add("header missing", "")
	add("header empty", "", "")
	add("header doubled", "the same", v, v)
	add("header doubled", "another first", "x", v)
	add("header doubled", "another last", v, "x")
	add("header doubled", "an empty one first", "", v)
	add("header doubled", "an empty one last", v, "")
	add("header doubled", "three times", v, v, v)
	for _, between := range []string{",", ", ", ";", " ", " , "} {
		add("values joined", between, v+between+v)
		add("values joined, another first", between, "x"+between+v)
		add("values joined, another last", between, v+between+"x")
	}
	add("value padded", "by spaces", "  "+v+"  ")
	add("value padded", "by tabs", "\t"+v+"\t")
	add("value quoted", "", `"`+v+`"`)
	add("value quoted", "once", "'"+v+"'")
	add("value encoded", "", strings.ReplaceAll(strings.ReplaceAll(v, "=", "%3D"), ",", "%2C")+"%20")
	for _, c := range []string{"\u00a0", "\u200b", "\ufeff", "\x00", "\x0b", "\x7f"} {
		add("value with an odd character", strconv.QuoteToASCII("before "+c), c+v)
		add("value with an odd character", strconv.QuoteToASCII("behind "+c), v+c)
	}
	add("value in another case", "upper", strings.ToUpper(v))
	add("value in another case", "lower", strings.ToLower(v))
	for i := range v {
		add("character changed", fmt.Sprint(i), v[:i]+string(v[i]^1)+v[i+1:])
	}
	for i := 1; i < len(v); i += 5 {
		add("value cut", fmt.Sprint(i), v[:i])
		add("value cut", fmt.Sprint("from ", i), v[i:])
		add("white space inside", fmt.Sprint(i), v[:i]+" "+v[i:])
	}
}

// unsignedHeaders: what is not signed changes nothing.
func (m *maker) unsignedHeaders() {
	signed := []string{m.names.signature, m.names.id, m.names.time}
	for _, h := range m.base.headers {
		if !slices.ContainsFunc(signed, func(name string) bool { return strings.EqualFold(name, h.Name) }) {
			m.add("unsigned header", h.Name+" missing", m.base.with(h.Name))
			m.add("unsigned header", h.Name+" changed", m.base.with(h.Name, "another"))
			m.add("unsigned header", h.Name+" doubled", m.base.with(h.Name, "another", "third"))
		}
	}
	for _, name := range []string{"X-Request-Id", "Idempotency-Key", "X-Forwarded-For", "X-Hub-Signature", "X-Event-Id", "Nats-Msg-Id"} {
		m.add("unsigned header", name+" added", m.base.with(name, "another"))
	}
	for _, query := range []string{"?", "?token=x", "?webhook-id=other"} {
		r := m.base.clone()
		r.target += query
		m.add("unsigned query", query, r)
	}
}

// text replaces the signature in the header that has it.
func (m *maker) text(change func(encoded string) string) request {
	v := m.base.get(m.names.signature)
	at := strings.LastIndexAny(v[:len(v)-2], ",=") + 1 // behind v1, v1= or sha256=
	return m.base.with(m.names.signature, v[:at]+change(v[at:]))
}

// raw is the signature of the request.
func (m *maker) raw() []byte { return m.mac(m.secret, m.signed(m.c)) }

// signatureForms writes the right signature in other ways.
func (m *maker) signatureForms() {
	raw := m.raw()
	digits := hex.EncodeToString(raw)
	for name, text := range map[string]string{
		"hex": digits, "hex in upper case": strings.ToUpper(digits), "hex in both cases": strings.ToUpper(digits[:9]) + digits[9:],
		"0x": "0x" + digits, "hex by colons": strings.Join(slices.Collect(pairs(digits)), ":"), "half a byte less": digits[:63], "half a byte more": digits + "0", "a byte more": digits + "00",
		"base64": base64.StdEncoding.EncodeToString(raw), "base64 without padding": base64.RawStdEncoding.EncodeToString(raw),
		"base64 with more padding": base64.StdEncoding.EncodeToString(raw) + "=", "base64 with stray bits": strayBits(raw),
		"base64 of hex": base64.StdEncoding.EncodeToString([]byte(digits)), "hex of hex": hex.EncodeToString([]byte(digits)), "a comma behind": digits + ",",
	} {
		m.add("signature as "+name, "", m.text(func(string) string { return text }))
	}
	// Both alphabets of base64 write some signatures alike.
	for i := range 8 {
		c := m.c
		c.id += strconv.Itoa(i)
		c.body = append(bytes.Clone(m.c.body), strings.Repeat(" ", i)...)
		r := m.base.clone()
		r.headers, r.body = m.headers(c), c.body
		other := strings.NewReplacer("+", "-", "/", "_").Replace(r.get(m.names.signature))
		if other != r.get(m.names.signature) {
			m.resigned("signature as url-safe base64", fmt.Sprint(i), r.with(m.names.signature, other), c, m.now)
			m.resigned("signature as url-safe base64", fmt.Sprint(i, " without padding"), r.with(m.names.signature, strings.TrimRight(other, "=")), c, m.now)
		}
		m.resigned("signed again", fmt.Sprint(i), r, c, m.now)
	}
	for _, prefix := range []string{"", "sha1=", "sha256=", "sha256= ", "SHA256=", "sha512=", "hmac-sha256=", "hmac-sha256-hex=", "HMAC-SHA256-HEX=", "v1,", "v1=", "v1a,", "V1,", "v2,", "v0=", "t=,v1=", "t=1,v1="} {
		for name, text := range map[string]string{"hex": digits, "base64": base64.StdEncoding.EncodeToString(raw)} {
			m.add("signature with prefix "+prefix, name, m.base.with(m.names.signature, prefix+text))
		}
	}
}

func pairs(digits string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := 0; i+2 <= len(digits) && yield(digits[i:i+2]); i += 2 {
		}
	}
}

// strayBits writes 32 bytes in base64 so that the bits that no byte uses are set.
func strayBits(raw []byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	text := base64.StdEncoding.EncodeToString(raw)
	last := len(text) - 2
	return text[:last] + string(alphabet[strings.IndexByte(alphabet, text[last])+1]) + "="
}

// otherSignatures: by other secrets, over other messages, by other algorithms.
func (m *maker) otherSignatures() {
	by := func(kind, name string, mac []byte) {
		m.add(kind, name, m.base.with(m.names.signature, m.sender.text(mac, m.c)))
	}
	for _, secret := range []string{"", " ", m.secret + " ", m.secret + "\n", " " + m.secret, "\ufeff" + m.secret, strings.ToUpper(m.secret), strings.ToLower(m.secret), m.secret[1:], m.secret[:len(m.secret)-1], "another secret of 24 bytes"} {
		if string(m.key(secret)) != string(m.key(m.secret)) {
			by("by another secret", strconv.Quote(secret), m.mac(secret, m.signed(m.c)))
		}
	}
	sum := func(h func() hash.Hash, key []byte) []byte {
		mac := hmac.New(h, key)
		mac.Write(m.signed(m.c))
		return mac.Sum(nil)
	}
	by("by another key", "the secret's text", sum(sha256.New, []byte(m.secret+"?")))
	by("by another algorithm", "sha1", sum(sha1.New, m.key(m.secret)))
	by("by another algorithm", "sha512", sum(sha512.New, m.key(m.secret)))
	by("by another algorithm", "sha384", sum(sha512.New384, m.key(m.secret)))
	plain := sha256.Sum256(append(m.key(m.secret), m.signed(m.c)...))
	by("by another algorithm", "no HMAC", plain[:])
	by("by another algorithm", "none", nil)
	by("by another algorithm", "zeros", make([]byte, sha256.Size))
	m.add("by an algorithm that is named", "sha1", m.base.with(m.names.signature, "sha1="+hex.EncodeToString(sum(sha1.New, m.key(m.secret)))))
	m.add("by an algorithm that is named", "sha512", m.base.with(m.names.signature, "sha512="+hex.EncodeToString(sum(sha512.New, m.key(m.secret)))))
	r := m.base.with(m.names.signature)
	r.add("X-Hub-Signature", "sha1="+hex.EncodeToString(sum(sha1.New, m.key(m.secret))))
	m.add("by an algorithm that is named", "sha1 in its own header", r)
	for name, message := range map[string]string{
		"nothing": "", "a line break behind": string(m.signed(m.c)) + "\n", "the time alone": m.c.time, "no full stop": m.c.id + m.c.time + string(m.c.body),
		"other order": m.c.time + "." + m.c.id + "." + string(m.c.body), "full stops only": ".." + string(m.c.body), "empty id": "." + m.c.time + "." + string(m.c.body),
	} {
		if message != string(m.signed(m.c)) {
			by("over another message", name, m.mac(m.secret, []byte(message)))
		}
	}
	if m.names.id != "" { // where the parts of the message could be cut in another way
		for id, at := range map[string]string{m.c.id + "." + m.c.time: "", m.c.id + "." + m.c.time[:4]: m.c.time[4:], "": m.c.id + "." + m.c.time} {
			r := m.base.with(m.names.id, id)
			m.add("message cut in another way", id+" and "+at, r.with(m.names.time, at))
		}
	}
	if m.names.time != "" || m.fields {
		r := m.base.clone()
		r.body = append([]byte(m.c.time+"."), m.c.body...)
		m.add("message cut in another way", "the time in the body", r)
	}
}

// lists: one signature of several. Only Standard Webhooks and Stripe have lists.
func (m *maker) lists() {
	good := m.base.get(m.names.signature)
	wrong := m.sender.text(make([]byte, sha256.Size), m.c)
	separator := " "
	if m.fields {
		separator = ","
		good, wrong = good[strings.Index(good, "v1="):], wrong[strings.Index(wrong, "v1="):]
	}
	for _, n := range []int{2, 3, 8, 9, 10, 16, 17, 40, 64, 65, 100} {
		kind := "one signature of several"
		if n > 64 {
			kind = "one signature of more than 64"
		}
		for _, at := range []int{0, n / 2, n - 1} {
			list := slices.Repeat([]string{wrong}, n)
			list[at] = good
			m.add(kind, fmt.Sprintf("%d of %d", at, n), m.base.with(m.names.signature, m.listed(list, separator)))
		}
	}
	for _, other := range []string{"v1a,AAAA", "v0=00", "v2,x", "v1,", "v1", ",", "=", "v1=zz", "v1=", "junk", "v1,%%%", "a=b=c", " "} {
		const kind = "one signature beside something else"
		m.add(kind, other+" behind", m.base.with(m.names.signature, m.listed([]string{good, other}, separator)))
		m.add(kind, other+" before", m.base.with(m.names.signature, m.listed([]string{other, good}, separator)))
	}
	for _, other := range []string{"  ", "\t", ",", ", ", ";", " ; ", "|"} {
		m.add("list by something else", strconv.Quote(other), m.base.with(m.names.signature, m.listed([]string{wrong, good}, other)))
	}
}

// listed returns the header that has these signatures.
func (m *maker) listed(list []string, separator string) string {
	if m.fields {
		list = append([]string{"t=" + m.c.time}, list...)
	}
	return strings.Join(list, separator)
}

// times: other times, without and with a signature over them.
func (m *maker) times() {
	if m.names.time == "" && !m.fields {
		return
	}
	at := m.now.Unix()
	with := func(c content) request { // the header of time alone is changed
		r := m.base.clone()
		if m.names.time != "" {
			return r.with(m.names.time, c.time)
		}
		return r.with(m.names.signature, m.sender.text(m.raw(), c))
	}
	signed := func(c content) request {
		r := m.base.clone()
		for _, h := range m.headers(c) {
			r = r.with(h.Name, strings.TrimSpace(h.Value))
		}
		return r
	}
	for _, seconds := range []int64{-1, 1, -60, 60, -280, 280, -320, 320, -3600, 3600, -86400, 86400, -at, -at + 1, -2 * at, 1 << 40} {
		c := m.c
		c.time = strconv.FormatInt(at+seconds, 10)
		m.add("another time, not signed", c.time, with(c))
		kind := "another time, signed"
		if seconds > 300 {
			kind = "a time ahead, signed"
		}
		m.resigned(kind, c.time, signed(c), c, time.Unix(at+seconds, 0))
	}
	now := m.c.time
	for _, form := range []string{"+" + now, "0" + now, "000000" + now, "-" + now, now + ".0", now + ".", now[:len(now)-3] + "e3", "0x" + strconv.FormatInt(at, 16), now + "000", now + "000000",
		m.now.UTC().Format(time.RFC3339), m.now.UTC().Format(http1123), "１" + now[1:], now[:3] + "_" + now[3:], now + "s", "null", "NaN", "", " ", "99999999999999999999", "9223372036854775807", "-9223372036854775808"} {
		c := m.c
		c.time = form
		m.add("time in another form, not signed", form, with(c))
		m.resigned("time in another form, signed so", form, signed(c), c, m.now)
	}
}

const http1123 = "Mon, 02 Jan 2006 15:04:05 GMT"

// bodies: byte by byte, white space and encodings.
func (m *maker) bodies(t *testing.T) {
	body := m.c.body
	with := func(kind, name string, b []byte) {
		r := m.base.clone()
		r.body = b
		m.add(kind, name, r)
	}
	for i := range body {
		b := bytes.Clone(body)
		b[i] ^= 1
		with("byte of the body changed", fmt.Sprint(i), b)
	}
	for i := 0; i < len(body); i += 7 {
		with("byte of the body left out", fmt.Sprint(i), slices.Delete(bytes.Clone(body), i, i+1))
		with("byte of the body added", fmt.Sprint(i), slices.Insert(bytes.Clone(body), i, ' '))
		with("body cut", fmt.Sprint(i), body[:i])
	}
	for name, b := range rewritten(t, body) {
		with("body written in another way", name, b)
		c := m.c
		c.body = b
		if m.preset != "easypost" || json.Valid(b) && bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) { // its library reads the body, too
			r := m.base.clone()
			r.headers, r.body = m.headers(c), b
			m.resigned("signed as it is written", name, r, c, m.now)
		}
	}
}

// rewritten returns the body in other words.
func rewritten(t *testing.T, body []byte) map[string][]byte {
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatal(err)
	}
	sorted, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var compact, indented, zipped bytes.Buffer
	_ = json.Compact(&compact, body)
	_ = json.Indent(&indented, body, "", "\t")
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write(body)
	_ = w.Close()
	wide := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(string(body))) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	all := map[string][]byte{
		"sorted": sorted, "compact": compact.Bytes(), "indented": indented.Bytes(), "escaped": bytes.Replace(body, []byte(`"e`), []byte(`"\u0065`), 1),
		"a line break behind": append(bytes.Clone(body), '\n'), "CRLF": bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n")), "space before": append([]byte(" "), body...),
		"a byte order mark": append([]byte("\ufeff"), body...), "UTF-16": wide, "gzip": zipped.Bytes(), "base64": []byte(base64.StdEncoding.EncodeToString(body)), "twice": append(bytes.Clone(body), body...),
		"a zero behind": append(bytes.Clone(body), 0), "empty": {}, "null": []byte("null"), "in a list": []byte("[" + string(body) + "]"), "upper case": bytes.ToUpper(body),
		"a member added": bytes.Replace(body, []byte("{"), []byte(`{"extra":1,`), 1), "a member twice": bytes.Replace(body, []byte("{"), []byte(`{"status":"x","status":"y",`), 1),
	}
	for name, b := range all {
		if bytes.Equal(b, body) {
			delete(all, name)
		}
	}
	return all
}

// media: what the body is said to be, which no signature covers, and a form that is signed.
func (m *maker) media() {
	for media, kind := range map[string]string{
		"text/plain": "another content type", "application/x-www-form-urlencoded": "another content type", "application/json; charset=utf-8": "another content type",
		"image/png": "content type of no JSON", "text/html; charset=utf-16": "content type of no JSON",
	} {
		r := m.base.clone()
		r.media = media
		m.add(kind, media, r)
	}
	c := m.c
	c.body = []byte("payload=" + url.QueryEscape(string(m.c.body)))
	form := m.base.clone()
	form.media, form.headers, form.body = "application/x-www-form-urlencoded", m.headers(c), c.body
	m.resigned("form, signed", "", form, c, m.now)
	unsigned := m.base.clone()
	unsigned.media, unsigned.body = form.media, form.body
	m.add("form", "", unsigned)
}

// framing: the same request in chunks, and with the signature where no header is.
func (m *maker) framing() {
	chunked := m.base.clone()
	chunked.framing = "Transfer-Encoding: chunked"
	m.add("in chunks", "", chunked)
	unsigned := m.base.with(m.names.signature)
	unsigned.framing = chunked.framing
	unsigned.trailer = m.names.signature + ": " + m.base.get(m.names.signature) + "\r\n"
	m.add("in chunks", "the signature behind them", unsigned)
	folded := m.base.clone()
	for i := range folded.headers {
		folded.headers[i].Value = "\r\n " + folded.headers[i].Value
	}
	m.add("folded headers", "", folded)
	elsewhere := m.base.clone()
	elsewhere.target = "http://other.example" + elsewhere.target
	m.add("whole address", "", elsewhere)
}

// otherNames: headers of both names of Standard Webhooks.
func (m *maker) otherNames() {
	other := map[string]string{"webhook-": "svix-", "svix-": "webhook-"}[m.prefix]
	var names = []string{"id", "timestamp", "signature"}
	for mask := range 8 {
		renamed, added, both := m.base.clone(), m.base.clone(), m.base.clone()
		for i, name := range names {
			if mask>>i&1 == 0 {
				continue
			}
			v := m.base.get(m.prefix + name)
			renamed = renamed.with(m.prefix + name)
			renamed.add(other+name, v)
			added.add(other+name, "other")
			both.add(other+name, v)
		}
		kind := "headers of both names"
		if mask == 7 {
			kind = "headers of the other name alone"
		}
		m.add(kind, fmt.Sprintf("%03b", mask), renamed)
		m.add("headers of the other name beside it", fmt.Sprintf("%03b", mask), added)
		m.add("headers of the other name beside it", fmt.Sprintf("the same, %03b", mask), both)
	}
	for _, name := range names { // of the other name, with one of ours
		r := m.base.clone()
		for _, n := range names {
			r = r.with(m.prefix + n)
			r.add(other+n, m.base.get(m.prefix+n))
		}
		r.add(m.prefix+name, "other")
		m.add("headers of the other name, beside our "+name, "", r)
		m.add("headers of the other name, beside an empty one", name, r.with(m.prefix+name, ""))
	}
}

// inFields: what is in a header with the time.
func (m *maker) inFields() {
	v := m.base.get(m.names.signature)
	at, v1, _ := strings.Cut(v, ",")
	for kind, texts := range map[string][]string{
		"fields in another order":    {v1 + "," + at},
		"time twice":                 {at + "," + v, "t=1," + v, v + ",t=1"},
		"field missing":              {v1, "t=," + v1, at, at + ",v1="},
		"space at a comma":           {at + ", " + v1, at + " ," + v1},
		"something that is no field": {v + ",", "," + v, at + ",," + v1, v + ",word"},
		"a field more":               {v + ",v9=x", "v9=x," + v},
		"fields in another form":     {strings.ToUpper(at) + "," + v1, "t =" + at[2:] + "," + v1, `t="` + at[2:] + `",` + v1, at + ";" + v1, at + "," + strings.Replace(v1, "=", ":", 1)},
	} {
		for _, text := range texts {
			m.add(kind, text, m.base.with(m.names.signature, text))
		}
	}
}
