package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// The media type of a webhook's body, and the prefix of its events' types.
const (
	cloudEventsBatch = "application/cloudevents-batch+json; charset=utf-8"
	typePrefix       = "com.github.chartkeep."
)

// Limits of a signing secret, in bytes (Standard Webhooks).
const (
	secretPrefix = "whsec_"
	minSecret    = 24
	maxSecret    = 64
)

// cloudEvent is an event in the JSON format of CloudEvents 1.0.
type cloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject,omitempty"`
	Time        string    `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        eventData `json:"data"`
}

type eventData struct {
	watch.Event
	Page    string `json:"page,omitempty"`    // URL
	Command string `json:"command,omitempty"` // that shows more
}

// webhook posts all events of a delivery as one batch, signed.
func (s *Sender) webhook(ctx context.Context, r watch.Route, d watch.Delivery) error {
	if err := s.client.Check(r.Credential, r.Target); err != nil {
		return later(err)
	}
	text, err := s.client.Secret(r.Credential)
	if err != nil {
		return later(err)
	}
	secret, err := parseSecret(text)
	if err != nil {
		return err
	}
	body, err := json.Marshal(s.batch(d.Events))
	if err != nil {
		return err
	}
	now := s.now()
	header := http.Header{
		"Content-Type":      {cloudEventsBatch},
		"Webhook-Id":        {d.ID},
		"Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)},
		"Webhook-Signature": {sign(secret, d.ID, now, body)},
	}
	return s.post(ctx, r.Target, r.Credential, remote.Shown(r.Target), header, body)
}

func (s *Sender) batch(events []watch.Event) []cloudEvent {
	source := s.external
	if source == "" {
		source = "urn:chartkeep:" + s.origin
	}
	out := make([]cloudEvent, 0, len(events))
	for _, e := range events {
		w := e.Words()
		out = append(out, cloudEvent{
			SpecVersion: "1.0", ID: e.Key, Source: source, Type: typePrefix + string(e.Kind), Subject: w.About,
			Time: e.Time.UTC().Format(time.RFC3339Nano), ContentType: "application/json",
			Data: eventData{Event: e, Page: s.page(w.Page), Command: w.Command},
		})
	}
	return out
}

// parseSecret reads whsec_ and the base64 of the key.
func parseSecret(text string) ([]byte, error) {
	bad := problem.New(problem.Unavailable, "notify-secret", "the signing secret of the route is not one of Standard Webhooks").
		With("form", "%s and the base64 of %d to %d random bytes", secretPrefix, minSecret, maxSecret).
		Suggest(`echo "whsec_$(openssl rand -base64 32)"`)
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return nil, bad
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, bad
	}
	return key, nil
}

// sign is the signature of Standard Webhooks: HMAC-SHA256 over id, time in
// seconds and body, joined by dots.
func sign(secret []byte, id string, at time.Time, body []byte) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// post sends a body once. at names the target without its secrets.
func (s *Sender) post(ctx context.Context, target, credential, at string, header http.Header, body []byte) error {
	h, err := s.client.HTTP(credential)
	if err != nil {
		return later(err)
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return problem.New(problem.Invalid, "notify-target", "%s is not a URL", at)
	}
	req.Header = header
	res, err := h.Do(req)
	if err != nil {
		if _, ok := problem.As(err); ok {
			return later(err)
		}
		// The text of other errors has the whole URL in it.
		return problem.New(problem.Unavailable, "notify-failed", "the request to %s failed", at)
	}
	defer res.Body.Close()
	// Lets the connection be used again; nobody reads what it says.
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10)
	return s.refusal(res, at)
}
