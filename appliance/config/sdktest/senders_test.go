package sdktest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/EasyPost/easypost-go/v5"
	"github.com/google/go-github/v84/github"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stripe/stripe-go/v82/webhook"
	svix "github.com/svix/svix-webhooks/go"
	"golang.org/x/text/unicode/norm"
)

func bytesOf(text string) []byte { return []byte(text) }

// afterPrefix reads a secret of Standard Webhooks.
func afterPrefix(secret string) []byte {
	key, _ := base64.StdEncoding.DecodeString(string(bytes.TrimPrefix([]byte(secret), []byte("whsec_"))))
	return key
}

// webhooks is a sender by Standard Webhooks.
func webhooks(preset, prefix string, check func(r *http.Request, body []byte) error, differs differences) sender {
	return sender{
		preset: preset, secret: webhookSecret, key: afterPrefix, check: check, prefix: prefix,
		names:   names{prefix + "signature", prefix + "id", prefix + "timestamp"},
		text:    inBase64("v1,"),
		signed:  func(c content) []byte { return fmt.Appendf(nil, "%s.%s.%s", c.id, c.time, c.body) },
		differs: differs,
	}
}

// overBody is a sender that signs the body and nothing else.
func overBody(preset, secret, header string, text func(mac []byte, c content) string, differs differences, check func(r *http.Request, body []byte) error) sender {
	return sender{
		preset: preset, secret: secret, names: names{signature: header}, key: bytesOf, check: check, differs: differs,
		text: text, signed: func(c content) []byte { return c.body },
	}
}

func inHex(prefix string) func([]byte, content) string {
	return func(mac []byte, _ content) string { return prefix + hex.EncodeToString(mac) }
}

func inBase64(prefix string) func([]byte, content) string {
	return func(mac []byte, _ content) string { return prefix + base64.StdEncoding.EncodeToString(mac) }
}

// inFields is a sender with the time in the header of the signature.
func inFields(preset, header string, differs differences, check func(r *http.Request, body []byte) error) sender {
	return sender{
		preset: preset, secret: asciiSecret, names: names{signature: header}, fields: true, key: bytesOf, check: check, differs: differs,
		text:   func(mac []byte, c content) string { return "t=" + c.time + ",v1=" + hex.EncodeToString(mac) },
		signed: func(c content) []byte { return fmt.Appendf(nil, "%s.%s", c.time, c.body) },
	}
}

const (
	webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	plainSecret   = "s\u00e9cret \ufb01\u2460 of 24 bytes"
	asciiSecret   = "a secret of 24 bytes, 01"
)

// senders are the presets that sign by HMAC-SHA256 in a header, with the library of those
// whose senders publish one.
func senders(t *testing.T) []sender {
	standard, err := standardwebhooks.NewWebhook(webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	branded, err := svix.NewWebhook(webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	byStandard := func(r *http.Request, body []byte) error { return standard.Verify(body, r.Header) }
	bySvix := func(r *http.Request, body []byte) error { return branded.Verify(body, r.Header) }
	easypostSender := overBody("easypost", plainSecret, "X-Hmac-Signature", inHex("hmac-sha256-hex="), ofEasyPost, func(r *http.Request, body []byte) error {
		headers := map[string]any{}
		for name := range r.Header {
			headers[name] = r.Header.Get(name)
		}
		_, err := easypost.New("").ValidateWebhook(body, headers, plainSecret)
		return err
	})
	easypostSender.key = func(secret string) []byte { return norm.NFKD.Bytes([]byte(secret)) }
	return []sender{
		webhooks("standard-webhooks", "webhook-", byStandard, ofStandard),
		webhooks("shipbob", "webhook-", byStandard, ofStandard),
		webhooks("svix", "svix-", bySvix, ofWebhooks),
		inFields("stripe", "Stripe-Signature", ofStripe, func(r *http.Request, body []byte) error {
			return webhook.ValidatePayload(body, r.Header.Get("Stripe-Signature"), asciiSecret)
		}),
		overBody("github", asciiSecret, "X-Hub-Signature-256", inHex("sha256="), ofGitHub, func(r *http.Request, body []byte) error {
			r.Body = io.NopCloser(bytes.NewReader(body))
			_, err := github.ValidatePayload(r, []byte(asciiSecret))
			return err
		}),
		easypostSender,

		// Senders that publish no library in Go.
		inFields("shippo", "Shippo-Auth-Signature", nil, nil),
		overBody("aftership", asciiSecret, "aftership-hmac-sha256", inBase64(""), nil, nil),
		overBody("aftership-returns", asciiSecret, "as-signature-hmac-sha256", inBase64(""), nil, nil),
		overBody("aftership-shipping", asciiSecret, "am-webhook-signature", inBase64("hmac-sha256="), nil, nil),
		overBody("sendcloud", asciiSecret, "Sendcloud-Signature", inHex(""), nil, nil),
		overBody("fedex", asciiSecret, "fdx-signature", inBase64(""), nil, nil),
		overBody("uber-direct", asciiSecret, "x-uber-signature", inHex(""), nil, nil),
		overBody("uber-direct", asciiSecret, "X-Postmates-Signature", inHex(""), nil, nil),
		overBody("shopify", asciiSecret, "X-Shopify-Hmac-Sha256", inBase64(""), nil, nil),
	}
}
