package sdkplugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"go.temporal.io/sdk/client"
	tlog "go.temporal.io/sdk/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The gRPC metadata keys that gates read. Text outside printable ASCII travels under the same key with "-bin" added, which gRPC carries as bytes.
const (
	metadataReason = "bailiwick-reason"
	metadataGrant  = "bailiwick-grant"
	binarySuffix   = "-bin"
)

// WithReason says why the calls made with the context are made. It goes to the gate, into the audit log and into the attestation.
// A gate takes up to 1024 bytes without control characters.
func WithReason(ctx context.Context, reason string) context.Context {
	return context.WithValue(ctx, reasonKey, reason)
}

// WithGrant names the grant that the calls made with the context rely on.
func WithGrant(ctx context.Context, grant string) context.Context {
	return context.WithValue(ctx, grantKey, grant)
}

// headers adds reason and grant to the metadata of each call, after what the program's own provider gives.
type headers struct{ next headersProvider }

// headersProvider is the SDK's interface of that name, which it does not export.
type headersProvider interface {
	GetHeaders(ctx context.Context) (map[string]string, error)
}

func (h headers) GetHeaders(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	if h.next != nil {
		given, err := h.next.GetHeaders(ctx)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, given)
	}
	for key, metadataKey := range map[contextKey]string{reasonKey: metadataReason, grantKey: metadataGrant} {
		text, _ := ctx.Value(key).(string)
		if text == "" {
			continue
		}
		if !utf8.ValidString(text) {
			return nil, status.Errorf(codes.InvalidArgument, "the text for %s is not valid UTF-8", metadataKey)
		}
		if !printableASCII(text) {
			metadataKey += binarySuffix
		}
		out[metadataKey] = text
	}
	return out, nil
}

func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// configureClient adds headers and credentials. The SDK turns TLS on for bearer credentials unless told otherwise; here plaintext is taken for
// loopback, where a development server has no certificate, and refused elsewhere unless the program insists.
func (p *Plugin) configureClient(_ context.Context, o client.PluginConfigureClientOptions) error {
	opts := o.ClientOptions
	if opts.Logger == nil {
		opts.Logger = tlog.NewStructuredLogger(p.log)
	}
	opts.HeadersProvider = headers{next: opts.HeadersProvider}
	if p.exchange != nil {
		dial := &opts.ConnectionOptions.DialOptions
		*dial = append(slices.Clip(*dial), grpc.WithChainUnaryInterceptor(p.exchange.intercept))
		return nil
	}
	if p.opts.Credentials == nil {
		return nil
	}
	if opts.Credentials != nil {
		return errors.New("configuring client with the Bailiwick plugin: both client.Options.Credentials and the plugin's Credentials are set; set one")
	}
	conn := &opts.ConnectionOptions
	local := loopbackTarget(opts.HostPort)
	if conn.TLS == nil && !conn.TLSDisabled && local {
		conn.TLSDisabled = true
	}
	if conn.TLS == nil && conn.TLSDisabled && !local && !p.opts.AllowPlaintext {
		return fmt.Errorf("configuring client with the Bailiwick plugin: refusing to send bearer tokens in plaintext to %s; use TLS, or set Options.AllowPlaintext if something else protects the connection", opts.HostPort)
	}
	source := p.opts.Credentials
	opts.Credentials = client.NewAPIKeyDynamicCredentials(func(ctx context.Context) (string, error) {
		token, err := source.Token(ctx)
		if err != nil {
			return "", asStatus(err)
		}
		if token == "" {
			return "", status.Error(codes.Unauthenticated, "the credentials gave an empty token")
		}
		return token, nil
	})
	return nil
}

// asStatus lets the SDK retry what may pass and give up on what will not.
func asStatus(err error) error {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return status.Error(codes.Unauthenticated, err.Error())
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Unavailable, err.Error())
}
