// Package oktasdk holds a test: Okta's own SDK for Go speaks with the development org, so that what the org answers has Okta's shapes by somebody else's reading.
//
// It owns nothing else, and nothing imports it: the SDK's 1,766 generated files are linked into this test alone.
package oktasdk
