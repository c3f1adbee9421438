import Foundation
import Testing

@Suite(
    "Sockets of the host in real guests", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct SocketTests {
    /// A server on the host. It answers `who` with the client's user and group, `sum` with the digest of the input,
    /// and `give N` with N bytes. For `hold` it sends nothing until the client ends; for `deaf` it doesn't read.
    /// `open` holds the number of open connections.
    private static let server = """
        import hashlib, os, socket, struct, threading, time
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("s"); os.chown("s", 0, 50); os.chmod("s", 0o660); listener.listen(100)
        lock, count = threading.Lock(), 0
        def change(by):
            global count
            with lock:
                count += by
                open("open.new", "w").write(str(count)); os.rename("open.new", "open")
        def serve(c):
            change(1)
            f = c.makefile("rb")
            word, *rest = f.readline().split()
            if word == b"who": c.sendall(b"%d:%d" % struct.unpack("iII", c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1:])
            if word == b"sum":
                digest = hashlib.sha256()
                while data := f.read(65536): digest.update(data)
                c.sendall(digest.hexdigest().encode())
            if word == b"give":
                left = int(rest[0])
                while left > 0: left -= c.send(bytes(min(left, 65536)))
            if word == b"hold":
                c.sendall(b"held"); f.read()
            if word == b"deaf": time.sleep(4)
            f.close(); c.close(); change(-1)
        while True:
            c, _ = listener.accept()
            threading.Thread(target=serve, args=(c,), daemon=True).start()
        """

    private static let client = """
        import hashlib, os, socket, threading
        def ask(question, data=b"", path="/dev/s"):
            s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect(path); s.sendall(question + b"\\n" + data)
            s.shutdown(socket.SHUT_WR)
            answer = b""
            while part := s.recv(65536): answer += part
            return answer
        facts = os.stat("/dev/s"); print(oct(facts.st_mode), facts.st_uid, facts.st_gid)
        print("root", ask(b"who").decode())
        big = os.urandom(1 << 20) * 24
        print("sent", ask(b"sum", big).decode() == hashlib.sha256(big).hexdigest())
        print("got", len(ask(b"give 25000000")))
        held = []
        for _ in range(100):
            s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect("/dev/s"); s.sendall(b"hold\\n"); held.append(s)
        print("held", sum(s.recv(9) == b"held" for s in held))
        answers = []
        def many(): answers.extend(ask(b"who") == b"0:0" for _ in range(50))
        threads = [threading.Thread(target=many) for _ in range(6)]
        [t.start() for t in threads]; [t.join() for t in threads]
        print("short", sum(answers))
        for s in held: s.close()
        s = socket.socket(socket.AF_UNIX); s.connect("/dev/s"); s.sendall(b"deaf\\n"); s.settimeout(1)
        total = 0
        try:
            while total < 1 << 26: total += s.send(bytes(65536))
        except socket.timeout: print("stopped", total < 1 << 22)
        s.close()
        print("stale", ask(b"who", path="/stale"))
        # The guest's kernel lets the first of them connect; the host was given neither.
        def drop(groups, user, group): os.setgroups(groups); os.setgid(group); os.setuid(user)
        for groups, user, group in [([50], 1000, 1000), ([], 1001, 1001)]:
            pid = os.fork()
            if pid == 0:
                drop(groups, user, group)
                try: print(ask(b"who").decode() or "refused", flush=True)
                except PermissionError: print("denied", flush=True)
                except OSError: print("refused", flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
        open("/v/ready", "w")
        while not os.path.exists("/v/gone"): pass
        try: print("gone", ask(b"who"))
        except (BrokenPipeError, ConnectionResetError): print("gone b''")
        s = socket.socket(socket.AF_UNIX); s.connect("/second"); s.sendall(b"hold\\n"); print("second", s.recv(9)); os._exit(0)
        """

    /// The client in an exec.
    private static let who = """
        import socket
        s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect("/dev/s"); s.sendall(b"who\\n"); s.shutdown(socket.SHUT_WR)
        print(s.recv(99).decode())
        """

    @Test("a socket of the host can be connected to from a container, by many at once, and nothing stays of it")
    func streams() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("exec /usr/bin/python3 -u /v/client.py")
        try Self.server.write(toFile: lab.directory + "/server.py", atomically: true, encoding: .utf8)
        try FileManager.default.createDirectory(atPath: lab.directory + "/v", withIntermediateDirectories: true)
        try Self.client.write(toFile: lab.directory + "/v/client.py", atomically: true, encoding: .utf8)
        try Self.who.write(toFile: lab.directory + "/v/who.py", atomically: true, encoding: .utf8)
        let outcome = try lab.sh(
            """
            mkdir one two; (cd one; exec python3 ../server.py) & one=$!; (cd two; exec python3 ../server.py) & two=$!
            # The tests' own process blocks SIGTERM, and so do its children.
            trap 'kill -KILL $one $two 2> /dev/null' EXIT
            for i in $(seq 400); do [ -S one/s ] && [ -S two/s ] && break; sleep 0.1; done
            python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("stale")'
            mkdir rootfs/usr; ln -s usr/lib rootfs/lib; ln -s usr/lib64 rootfs/lib64
            jq --arg d "$PWD" '.mounts += [
                {destination: "/usr", type: "bind", source: "/usr", options: ["rbind", "ro"]},
                {destination: "/v", type: "bind", source: ($d + "/v"), options: ["rbind"]},
                {destination: "/dev/s", type: "bind", source: ($d + "/one/s"), options: ["bind"]},
                {destination: "/second", type: "bind", source: ($d + "/two/s"), options: ["rbind", "ro"]},
                {destination: "/stale", type: "bind", source: ($d + "/stale"), options: ["rbind"]}] |
                .process.capabilities |= map_values(. + ["CAP_SETUID", "CAP_SETGID"])' bundle/config.json > c && mv c bundle/config.json
            (for i in $(seq 600); do [ -e v/ready ] && break; sleep 0.1; done
             \(lab.kata) exec --user 1000:1000 --additional-gids 50 sockets /usr/bin/python3 /v/who.py > exec.out 2>&1
             for i in $(seq 400); do [ "$(cat one/open)" = 0 ] && break; sleep 0.1; done
             cat one/open > left; kill -KILL $one; touch v/gone) &
            \(lab.kata) run -b bundle sockets
            cat exec.out left; for i in $(seq 400); do [ "$(cat two/open)" = 0 ] && break; sleep 0.1; done; echo " $(cat two/open)"
            """)
        #expect(
            outcome.output == """
                0o140660 0 50
                root 0:0
                sent True
                got 25000000
                held 100
                short 300
                stopped True
                stale b''
                refused
                denied
                gone b''
                second b'held'
                1000:1000
                0 0

                """, "\(outcome.error)")
        #expect(try lab.leftovers("sockets") == "")
    }

    @Test("a socket that is not for streams is refused by its name, before a program runs")
    func refused() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("echo ran")
        let outcome = try lab.sh(
            """
            :
            python3 -c 'import socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("d"); time.sleep(60)' & server=$!
            trap 'kill -KILL $server' EXIT
            for i in $(seq 400); do [ -S d ] && break; sleep 0.1; done
            jq --arg d "$PWD/d" '.mounts += [{destination: "/dev/log", type: "bind", source: $d, options: ["bind"]}]' \
                bundle/config.json > c && mv c bundle/config.json
            \(lab.kata) run -b bundle datagrams 2>&1 | sed "s|$PWD|DIR|"
            """)
        #expect(
            outcome.output
                == "DIR/d is a socket for datagrams: only those for streams reach into a machine; leave it out\n")
        #expect(try lab.leftovers("datagrams") == "")
    }
}
