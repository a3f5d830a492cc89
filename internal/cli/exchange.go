package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

type shortToken struct{ client.ShortToken }

func (shortToken) schema() string   { return "exchange/v1" }
func (r shortToken) keys() []string { return []string{r.Secret} }

func (r shortToken) view() view {
	return view{
		{facts: []fact{{"token", r.Secret}, {"id", r.ID}, {"pipeline", r.Publisher}, {"grants", grantsWords(r.Grants)}, {"expires", stampSeconds(r.Expires)}}},
		{text: "It works as CHARTKEEP_TOKEN, and as the password of helm registry login with\nany user name."},
	}
}

// envIDToken is where a pipeline may put its identity token: GitLab does so by
// id_tokens.
const envIDToken = "CHARTKEEP_ID_TOKEN"

type exchangeOptions struct {
	project  string
	file     string
	audience string
	envFile  string
}

func (o *exchangeOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.project, "project", "", "project `NAME` to publish to")
	f.StringVar(&o.file, "id-token-file", "", "`FILE` of the identity token, such as one that Kubernetes projects into a pod")
	f.StringVar(&o.audience, "audience", "", "`URL` that a token of GitHub is asked for (default: the server)")
	f.StringVar(&o.envFile, "env-file", "", "append CHARTKEEP_TOKEN to this `FILE`, such as \"$GITHUB_ENV\", and print no token")
}

func (a *app) tokenExchangeCommand() *cobra.Command {
	var opt exchangeOptions
	return a.leaf(command{
		use: "exchange --project NAME [flags]", short: "In a pipeline: show who it is and get a token for 15 minutes",
		long: `
In a pipeline, take the identity token of the platform for a token that may
publish to one project for 15 minutes. It is found

  in the file of --id-token-file    Kubernetes, or any other place
  in CHARTKEEP_ID_TOKEN             GitLab (id_tokens)
  by asking the runner              GitHub Actions (permissions: id-token: write)

An identity token is taken only once. Which pipelines may publish is decided by
chartkeep publisher. See chartkeep help publishers.`,
		example: `
# GitHub Actions: the next steps have CHARTKEEP_TOKEN
chartkeep token exchange --project demo --env-file "$GITHUB_ENV"
# for helm registry login --password-stdin
chartkeep token exchange --project demo -q > token`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			if opt.project == "" {
				return nil, usage("--project is missing").try("name the project to publish to")
			}
			server := cmp.Or(a.server(), defaultServer)
			id, err := a.identityToken(ctx, &opt, server)
			if err != nil {
				return nil, err
			}
			c, err := a.connect(server, "") // whoever calls has no other credential, and needs none
			if err != nil {
				return nil, err
			}
			t, err := c.ExchangeToken(ctx, id, opt.project)
			if err != nil {
				return nil, err
			}
			if a.env("GITHUB_ACTIONS") == "true" {
				a.say("::add-mask::%s", t.Secret) // the runner hides it in logs from here on
			}
			if opt.envFile == "" {
				return shortToken{t}, nil
			}
			if err := appendLine(opt.envFile, "CHARTKEEP_TOKEN="+t.Secret); err != nil {
				return nil, err
			}
			return done{form: "exchange-kept/v1", Name: t.ID, Change: "is CHARTKEEP_TOKEN until " + stampSeconds(t.Expires)}, nil
		},
	})
}

// identityToken finds the identity token of the pipeline that this runs in.
func (a *app) identityToken(ctx context.Context, opt *exchangeOptions, server string) (string, error) {
	if opt.file != "" {
		b, err := readFile(opt.file, 64<<10)
		return strings.TrimSpace(string(b)), err
	}
	if token := a.env(envIDToken); token != "" {
		return strings.TrimSpace(token), nil
	}
	ask, secret := a.env("ACTIONS_ID_TOKEN_REQUEST_URL"), a.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	switch {
	case ask != "" && secret != "":
		return askRunner(ctx, ask, secret, cmp.Or(opt.audience, strings.TrimRight(server, "/")))
	case a.env("GITHUB_ACTIONS") == "true":
		return "", usage("the job may not ask for an identity token").try("add to the job: permissions: {id-token: write}")
	}
	return "", usage("there is no identity token here").try("set %s, or give --id-token-file FILE", envIDToken)
}

// askRunner asks the runner of GitHub Actions for an identity token. Its address
// and the secret for it are those of the job. The audience is the server that is
// asked, and never what that server says: it could name another.
func askRunner(ctx context.Context, ask, secret, audience string) (string, error) {
	u, err := url.Parse(ask)
	if err != nil || u.Host == "" {
		return "", usage("ACTIONS_ID_TOKEN_REQUEST_URL is no URL")
	}
	q := u.Query()
	q.Set("audience", audience)
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", problem.New(problem.Unavailable, "runner", "the runner at %s cannot be asked for an identity token", u.Host).Suggest("run the job again").Because(err)
	}
	defer res.Body.Close()
	var said struct {
		Value string `json:"value"`
	}
	err = json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&said)
	if res.StatusCode != http.StatusOK || err != nil || said.Value == "" {
		return "", problem.New(problem.Unavailable, "runner", "the runner gave no identity token").With("status", "%s", res.Status).
			Suggest("see that the job has permissions: id-token: write")
	}
	return said.Value, nil
}

// appendLine writes a line at the end of a file that others have begun.
func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fileProblem(path, err)
	}
	_, err = fmt.Fprintln(f, line)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fileProblem(path, err)
	}
	return nil
}

type accountLinkList struct {
	Items []client.AccountLink `json:"items"`
}

func (accountLinkList) schema() string { return "account-link-list/v1" }

func (r accountLinkList) keys() []string {
	return keysOf(r.Items, func(l client.AccountLink) string { return l.Account })
}

func (r accountLinkList) view() view {
	b := block{head: []string{"ACCOUNT", "PERSON AT THE PROVIDER", "PROVIDER", "SIGNED IN"}, empty: "no account belongs to a person of an identity provider"}
	for _, l := range r.Items {
		b.rows = append(b.rows, []string{l.Account, l.Subject, l.Issuer, cmp.Or(stamp(l.Used), "not since it was linked")})
	}
	return view{b}
}

func (a *app) userLinksCommand() *cobra.Command {
	return a.leaf(command{
		use: "links", short: "List who of the identity provider has which account",
		example: `chartkeep user links`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, c.AccountLinks)
			if err != nil {
				return nil, err
			}
			return accountLinkList{items}, nil
		},
	})
}

func (a *app) userLinkCommand() *cobra.Command {
	var subject string
	return a.leaf(command{
		use: "link NAME --subject ID", short: "Tie an account to a person of the identity provider",
		long: `
Tie an account to a person of the identity provider, by the id that the
provider has for the person. The page that refuses somebody who has no account
shows it. Addresses and names are never used: they change hands.`,
		example: `chartkeep user link ann --subject 00u1a2b3c4`,
		args:    arguments{1, 1, "the NAME of an account"}, complete: a.completeAccountArg,
		flags: func(f *pflag.FlagSet) { f.StringVar(&subject, "subject", "", "`ID` of the person at the provider") },
		run: func(ctx context.Context, args []string) (result, error) {
			if subject == "" {
				return nil, usage("--subject is missing").try("take it from the page that the person sees who tries to sign in")
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.LinkAccount(ctx, args[0], subject); err != nil {
				return nil, err
			}
			return done{form: "account-linked/v1", Name: args[0], Change: "belongs to " + subject}, nil
		},
	})
}

func (a *app) userUnlinkCommand() *cobra.Command {
	return a.leaf(command{
		use: "unlink NAME", short: "Take an account away from the people of the identity provider",
		long: `
Take all links of an account away, and what its groups gave. It keeps its
password, its tokens and its own grants: to end those, disable it.`,
		example: `chartkeep user unlink ann`,
		args:    arguments{1, 1, "the NAME of an account"}, complete: a.completeAccountArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.UnlinkAccount(ctx, args[0]); err != nil {
				return nil, err
			}
			return done{form: "account-unlinked/v1", Name: args[0], Change: "is linked no more"}, nil
		},
	})
}
