package settings

// The annotations about certificates and HTTP versions.
const (
	SSL              Key = Prefix + "ssl"
	SSLPassThrough   Key = Prefix + "ssl-pass-through"
	SSLRedirect      Key = Prefix + "ssl-redirect"
	HTTP2            Key = Prefix + "http2"
	HTTP3            Key = Prefix + "http3"
	AutoSSL          Key = Prefix + "auto-ssl"
	AutoSSLDomain    Key = Prefix + "auto-ssl-domain"
	AutoSSLSubdomain Key = Prefix + "auto-ssl-subdomain"
)

// tlsSettings are about certificates and HTTP versions.
var tlsSettings = []Setting{
	{
		Key: SSL, Kind: ObjectName, Format: "name of a TLS Secret", Since: first, Protects: Encryption, asks: unlessEmpty, NoClusterDefault: true,
		Doc: "The certificate of https ports. The Secret is in the namespace of the Service.",
	},
	{
		Key: SSLPassThrough, Kind: Switch, Default: "false", Since: first, Lenient: true, Protects: Encryption, asks: unlessOff,
		Doc: "The pods terminate TLS: https ports are forwarded as tcp, without a certificate.",
	},
	{
		Key: SSLRedirect, Kind: Switch, Default: "false", Since: first, Lenient: true, Protects: Encryption, asks: unlessOff,
		Doc: "Redirects http to https. Needs a port of each.",
	},
	{
		Key: HTTP2, Kind: Switch, Default: "false", Since: first, Lenient: true,
		Doc: "Offers HTTP/2. Needs an https port.",
	},
	{
		Key: HTTP3, Kind: Switch, Default: "false", Since: first, Lenient: true,
		Doc: "Offers HTTP/3, which uses the UDP port of the same number. Needs `http2`.",
	},
	{
		Key: AutoSSL, Kind: ObjectName, Format: "name of a Secret", Since: first, Protects: Encryption, asks: unlessEmpty, NoClusterDefault: true,
		Doc: "The platform issues the certificate of https ports, for the domain in the keys `domainZone` and `subDomain` of the Secret.",
	},
	{
		Key: AutoSSLDomain, Kind: HostName, Format: "domain in lower case", Since: first, Protects: Encryption, asks: unlessEmpty, NoClusterDefault: true,
		Doc: "The same without a Secret: a domain that is hosted in the account's DNS.",
	},
	{
		Key: AutoSSLSubdomain, Kind: HostName, Format: "name below the domain", DefaultText: "the domain itself", Since: first, Protects: Encryption, asks: unlessEmpty, NoClusterDefault: true,
		Doc: "The name below `auto-ssl-domain` that the certificate is for.",
	},
}
