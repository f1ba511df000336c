"""A certificate authority of its own, and the certificates of a control plane."""

VALID_DAYS = "2"


class Authority:
    def __init__(self, sandbox, openssl):
        self.sandbox = sandbox
        self.openssl = openssl
        self.directory = sandbox.directory("certificates")
        self.key, self.certificate = self._path("authority.key"), self._path("authority.crt")
        self._run(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", self.key, "-out", self.certificate, "-days", VALID_DAYS),
            *("-subj", "/CN=drill"),
        )

    def _path(self, name):
        return self.directory / name

    def _run(self, *arguments):
        self.sandbox.run([self.openssl, *arguments])

    def _sign(self, name, subject, extensions):
        """Makes a key and a certificate. Returns the paths of both, the certificate first."""
        key, request, certificate = (
            self._path(f"{name}.{end}") for end in ("key", "csr", "crt")
        )
        text = "".join(f"{field}={value}\n" for field, value in extensions.items())
        extension_file = self.sandbox.file(f"certificates/{name}.ext", text)
        self._run(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", key, "-out", request, "-subj", subject),
        )
        self._run(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key),
            *("-CAcreateserial", "-days", VALID_DAYS, "-extfile", extension_file),
            *("-out", certificate),
        )
        return certificate, key

    def server_certificate(self, name):
        names = "IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc"
        extensions = {"subjectAltName": names, "extendedKeyUsage": "serverAuth"}
        return self._sign(name, f"/CN={name}", extensions)

    def client_certificate(self, name, user, group=None):
        """The API server reads the user from CN and its group from O."""
        subject = (f"/O={group}" if group else "") + f"/CN={user}"
        return self._sign(name, subject, {"extendedKeyUsage": "clientAuth"})

    def signing_key(self, name):
        """Makes the key that signs the tokens of service accounts. Returns its two halves."""
        private, public = self._path(f"{name}.key"), self._path(f"{name}.pub")
        size = ("-pkeyopt", "rsa_keygen_bits:2048")
        self._run("genpkey", "-algorithm", "RSA", *size, "-out", private)
        self._run("pkey", "-in", private, "-pubout", "-out", public)
        self.signing_key_file = private
        return private, public
