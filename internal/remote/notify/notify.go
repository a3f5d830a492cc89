// Package notify brings messages to people and programs: signed webhooks,
// messages in Slack's form, alerts for Alertmanager, and mail.
//
// What always holds:
//
//   - One delivery is one request or one mail. Its id is the same every time
//     it is tried, so that a receiver can tell a repetition.
//   - Foreign text is escaped for the format that it is put into: it adds no
//     header, no link, no mention and no markup.
//   - A secret goes to the host that it is bound to and nowhere else, and a
//     password never over a connection without TLS. Redirects are not followed.
//   - What a target says is not passed on but for its status code, so a route
//     cannot be used to read what other services answer.
//   - Everything has a limit of time and size.
//
// Webhooks follow CloudEvents 1.0 (JSON batch format, HTTP binding) and
// Standard Webhooks 1.0; mail follows RFC 5321, 5322, 3207 and 4954.
package notify

import (
	"context"
	"net/http"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Config is what a Sender is made of.
type Config struct {
	Client *remote.Client
	// Origin names this server in messages whatever its address is: the origin
	// of its log.
	Origin string
	// ExternalURL is where people reach the server, "" if nobody knows. With it,
	// messages link to pages.
	ExternalURL string
	Mail        Mail
	Now         func() time.Time // nil is time.Now
}

// Sender delivers. It is safe for concurrent use.
type Sender struct {
	client   *remote.Client
	origin   string
	external string // without a slash at its end
	mail     *mailer
	now      func() time.Time
}

// New makes a sender. problem.Invalid for mail settings that cannot work.
func New(c Config) (*Sender, error) {
	s := &Sender{client: c.Client, origin: c.Origin, external: trimSlash(c.ExternalURL), now: c.Now}
	if s.now == nil {
		s.now = time.Now
	}
	if c.Mail != (Mail{}) {
		var err error
		if s.mail, err = newMailer(c.Mail, c.Client, c.Origin); err != nil {
			return nil, err
		}
		s.mail.link = s.page
	}
	return s, nil
}

// Send implements watch.Sender. Unavailable problems with a pause that the
// target asked for have a watch.PauseError as their cause.
func (s *Sender) Send(ctx context.Context, r watch.Route, d watch.Delivery) error {
	switch r.Kind {
	case watch.RouteWebhook:
		return s.webhook(ctx, r, d)
	case watch.RouteSlack:
		return s.slack(ctx, r, d)
	case watch.RouteMail:
		if s.mail == nil {
			return problem.New(problem.Unavailable, "notify-mail", "this server has no mail server to send through").
				Suggest("set mail-server and mail-from in the configuration of the server")
		}
		return s.mail.send(ctx, r, d, s.message(r, d), s.now())
	case watch.RouteAlertmanager:
		return s.alertmanager(ctx, r, d)
	}
	return problem.New(problem.Unsupported, "notify-kind", "routes of kind %.40q are not known to this server", r.Kind)
}

// later makes a problem of the way to a target one that may be tried again:
// credentials, addresses and certificates are mended by people, and what
// happened meanwhile should still be told.
func later(err error) error {
	p, ok := problem.As(err)
	if !ok {
		return err
	}
	q := *p
	q.Kind = problem.Unavailable
	if pause := remote.RetryAfter(err); pause > 0 {
		q.Err = watch.PauseError(pause)
	}
	return &q
}

// refusal is the problem of a target's answer, nil for success. Only 410 says
// that it will never work (Standard Webhooks). at names the target.
func (s *Sender) refusal(res *http.Response, at string) error {
	if res.StatusCode/100 == 2 {
		return nil
	}
	if res.StatusCode == http.StatusGone {
		return problem.New(problem.Gone, "notify-gone", "%s answers that it is gone for good", at).
			With("status", "%d", res.StatusCode).Suggest("remove the route, or add one with the new target")
	}
	p := problem.New(problem.Unavailable, "notify-status", "%s does not take the message", at).With("status", "%d", res.StatusCode)
	switch code := res.StatusCode; {
	case code/100 == 3:
		p.Suggest("give the target that it leads to; redirects are not followed")
	case code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusNotFound:
		p.Suggest("check target and credential of the route")
	}
	if pause := remote.Pause(res.Header, s.now()); pause > 0 {
		p.Because(watch.PauseError(pause))
	}
	return p
}
