import Testing

extension PodTests {
    @Test(
        "port-forward reaches a listener on any address of the guest, also on its loopback, and is refused without one")
    func portForward() throws {
        let outcome = try PodTests.with(
            """
            # httpd listens on the guest's loopback alone. nc has a cat for each client, but a backlog of one: with SYN
            # cookies its kernel resets what comes at once. The host's python has a backlog for many.
            cat > echo.py <<'X'
            import socketserver
            class Echo(socketserver.BaseRequestHandler):
                def handle(self):
                    while part := self.request.recv(1 << 16): self.request.sendall(part)
            class Server(socketserver.ThreadingTCPServer): request_queue_size = 128
            Server(("127.0.0.1", 8083), Echo).serve_forever()
            X
            pod=$(runp one); id=$(run $pod web '{"mounts": [{"container_path": "/usr", "host_path": "/usr", "readonly": true},
                {"container_path": "/echo.py", "host_path": "'$PWD'/echo.py", "readonly": true}]}' -- sh -c 'mkdir /www; echo hello > /www/f
                for i in lib lib64; do ln -s usr/$i /$i; done; httpd -p 127.0.0.1:8080 -h /www
                /usr/bin/python3 -S /echo.py & nc -ll -p 8081 -e cat')
            eventually x $id sh -c 'netstat -ltn | grep -q 8081 && netstat -ltn | grep -q 8083'
            printf 'GET /f HTTP/1.0\\r\\n\\r\\n' | CRI_TIMEOUT=3 cri forward $pod 8080 2> err | tail -1
            echo other | CRI_TIMEOUT=3 cri forward $pod 8081 2> err
            cri forward $pod 8082 < /dev/null 2>&1 | grep -cE 'reset|refused'
            netns=$(cri inspectp $pod | jq -r '.info.info | fromjson | .runtimeSpec.linux.namespaces[] | select(.type == "network").path')
            cat > client.py <<'X'
            import hashlib, socket, threading
            # Half-close: everything comes back after the end was sent.
            def echo(size):
                data = bytes(range(256)) * (size // 256)
                connection = socket.create_connection(("127.0.0.1", 8083), timeout=120)
                def send():
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                sender = threading.Thread(target=send)
                sender.start()
                digest, count = hashlib.sha256(), 0
                while part := connection.recv(1 << 16):
                    digest.update(part)
                    count += len(part)
                sender.join()
                return count == len(data) and digest.digest() == hashlib.sha256(data).digest()
            print(echo(100 << 20))
            results = []
            many = [threading.Thread(target=lambda: results.append(echo(1 << 16))) for _ in range(50)]
            for each in many: each.start()
            for each in many: each.join()
            print(results.count(True))
            for address, port in (("127.0.0.1", 8082), ("::1", 8081)):
                try:
                    connection = socket.create_connection((address, port), timeout=20)
                    connection.send(b"x")
                    print(connection.recv(10))
                except OSError as error: print(error)
            X
            nsenter --net=$netns python3 client.py
            cri stopp $pod; eventually [ -z "$(nsenter --net=$netns ss -Hltn 2> /dev/null)" ]; cri rmp $pod; left
            """)
        #expect(
            outcome.output == """
                hello
                other
                1
                True
                50
                [Errno 104] Connection reset by peer
                b'x'

                """, "\(outcome.error)")
    }
}
