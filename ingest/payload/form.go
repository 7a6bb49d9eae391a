package payload

import (
	"bytes"
	"net/url"
	"strconv"
)

// DefaultFormField is the field of a form that has the JSON, by default.
const DefaultFormField = "payload"

// InFormField returns d for a sender whose forms have the JSON in a field of this name.
func (d *Decoder) InFormField(name string) *Decoder {
	other := *d
	other.formField = name
	return &other
}

// jsonIn returns the JSON text of a body: the body, or a field of the form that it is
// (application/x-www-form-urlencoded, URL standard, section 5.1), which is then in memory of
// its own. A body is a form if it begins as no object and no array does and has the field.
// It decides by the body alone, so that the worker, which has nothing else, reads what the
// intake has read. The fault is what is wrong with a form, "" for nothing.
func (d *Decoder) jsonIn(body []byte) (text []byte, fault string) {
	switch {
	case bytes.HasPrefix(body, []byte("\xff\xfe")) || bytes.HasPrefix(body, []byte("\xfe\xff")):
		return nil, "is in UTF-16, but JSON is exchanged in UTF-8 (RFC 8259, section 8.1)"
	case len(body) == 0 || body[0] == '{' || body[0] == '[' || body[0] <= ' ' || body[0] >= 0x7f:
		return body, ""
	}
	field := DefaultFormField
	if d != nil && d.formField != "" {
		field = d.formField
	}
	value, count := fieldOf(body, field)
	switch {
	case count > 1:
		return nil, "is a form that has the field " + strconv.Quote(field) + " more than once"
	case count == 1:
		decoded, err := url.QueryUnescape(string(value))
		if err != nil {
			return nil, "is a form whose field " + strconv.Quote(field) + " can't be decoded: " + err.Error()
		}
		return []byte(decoded), ""
	case body[0] != '"' && bytes.IndexByte(body, '=') > 0:
		return nil, "is neither JSON nor a form with the field " + strconv.Quote(field)
	}
	return body, ""
}

// fieldOf returns the encoded value of a form's first field of a name, and how many there are.
func fieldOf(form []byte, name string) (value []byte, count int) {
	for len(form) > 0 {
		var pair []byte
		pair, form, _ = bytes.Cut(form, []byte("&"))
		key, one, _ := bytes.Cut(pair, []byte("="))
		if plain, err := url.QueryUnescape(string(key)); err != nil || plain != name {
			continue
		}
		if count++; count == 1 {
			value = one
		}
	}
	return value, count
}
