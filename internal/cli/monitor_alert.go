package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/monitor"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/remote/notify"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// alertOptions say to whom a monitor tells what it finds.
type alertOptions struct {
	webhooks, slacks, alertmanagers []string
	outgoingOptions
}

func (o *alertOptions) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.webhooks, "webhook", nil, "send signed webhooks to URL, with the secret of a credential: `CREDENTIAL=URL`")
	f.StringArrayVar(&o.slacks, "slack", nil, "send Slack messages to the URL of `CREDENTIAL`")
	f.StringArrayVar(&o.alertmanagers, "alertmanager", nil, "send alerts to Alertmanager at `URL`")
	f.StringVar(&o.credentials, "credentials", "", "`FILE` with the credentials that --webhook and --slack name")
	f.StringSliceVar(&o.networks, "allow-networks", nil, "private `NETWORKS` that may be called, such as 10.0.0.0/8")
}

// sinks makes what findings are told to. A service tells stdout too.
func (a *app) sinks(o *alertOptions, once bool) ([]monitor.Sink, error) {
	var routes []watch.Route
	var urls []string
	for _, w := range o.webhooks {
		name, target, ok := strings.Cut(w, "=")
		if !ok {
			return nil, usage("--webhook %s is not CREDENTIAL=URL", remote.Shown(w)).try("--webhook hook=https://hooks.example.com/x --credentials credentials.yaml")
		}
		routes = append(routes, watch.Route{Name: "webhook " + name, Kind: watch.RouteWebhook, Target: target, Credential: name})
		urls = append(urls, target)
	}
	for _, s := range o.slacks {
		routes = append(routes, watch.Route{Name: "slack " + s, Kind: watch.RouteSlack, Credential: s})
	}
	for _, target := range o.alertmanagers {
		routes = append(routes, watch.Route{Name: "alertmanager " + remote.Shown(target), Kind: watch.RouteAlertmanager, Target: target})
		urls = append(urls, target)
	}
	var out []monitor.Sink
	if !once {
		out = append(out, printSink{a.stdout, a.global.form})
	}
	if len(routes) == 0 {
		return out, nil
	}
	c, known, err := o.client(urls)
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		if r.Credential != "" && (known == nil || !slices.Contains(known.Names(), r.Credential)) {
			return nil, usage("there is no credential %s", r.Credential).try("--credentials FILE")
		}
		out = append(out, routeSink{c, r})
	}
	return out, nil
}

// printSink writes findings to stdout, one a line.
type printSink struct {
	out  io.Writer
	form string
}

// Name implements monitor.Sink.
func (printSink) Name() string { return "stdout" }

// Send implements monitor.Sink.
func (s printSink) Send(_ context.Context, list []monitor.Finding) error {
	for _, f := range list {
		line := fmt.Sprintf("%s %s %s %s: %s", stampSeconds(f.First), f.Severity, f.Rule, f.Ref(), findingLine(f))
		if s.form == formJSON {
			b, err := json.Marshal(struct {
				Schema string `json:"schema"`
				Key    string `json:"key"`
				monitor.Finding
			}{"monitor-finding/v1", f.Key(), f})
			if err != nil {
				return err
			}
			line = string(b)
		} else {
			line = printable(line)
		}
		if _, err := fmt.Fprintln(s.out, line); err != nil {
			return err
		}
	}
	return nil
}

// routeSink sends findings on a route, as the server sends its events.
type routeSink struct {
	client *remote.Client
	route  watch.Route
}

// Name implements monitor.Sink.
func (s routeSink) Name() string { return s.route.Name }

// Send implements monitor.Sink.
func (s routeSink) Send(ctx context.Context, list []monitor.Finding) error {
	sender, err := notify.New(notify.Config{Client: s.client, Origin: list[0].Log})
	if err != nil {
		return err
	}
	d := watch.Delivery{Route: s.route.Name}
	var keys []string
	for _, f := range list {
		d.Events = append(d.Events, eventOf(f))
		keys = append(keys, f.Key())
	}
	d.ID = "monitor-" + digest.SHA256([]byte(strings.Join(keys, "\n")))[len("sha256:"):][:32]
	return sender.Send(ctx, s.route, d)
}

// eventOf is a finding as routes tell it.
func eventOf(f monitor.Finding) watch.Event {
	e := watch.Event{
		Time: f.First, Kind: watch.EventKind("monitor." + f.Rule), Severity: watch.Severity(f.Severity), Project: f.Project, Chart: f.Chart, Version: f.Version,
		Message: f.Message, Question: f.Question, Key: f.Key(), LogIndex: max(f.Index, 0),
	}
	if f.Proven {
		e.Evidence = append(e.Evidence, watch.Fact{Label: "proven", Value: "a digest, a signature or a proof does not hold"})
	}
	e.Evidence = append(e.Evidence, watch.Fact{Label: "log", Value: f.Log}, watch.Fact{Label: "server", Value: remote.Shown(f.Server)})
	for _, x := range f.Facts {
		e.Evidence = append(e.Evidence, watch.Fact{Label: x.Label, Value: x.Value})
	}
	return e
}
