//! The double-T maze of LMRL-Gym: walk from anywhere to the foot of the T.
//!
//! A move costs 1, the one that reaches the goal nothing; a move into a wall stays, and a text that is no move costs
//! 4. A hundred moves end the game. Seen in full, the policy is told where it stands; in part, only which
//! walls are beside it. Numbers are written digit by digit.
//! Reference: Abdulhai et al. 2023 (LMRL-Gym), section 4.

use std::collections::VecDeque;

use super::Turn;

/// Moves of a game.
pub const MOVES: usize = 100;

/// Row and column of the goal.
pub const GOAL: Place = (8, 6);

/// Row and column, counted from the upper left corner.
pub type Place = (usize, usize);

/// Two Ts, one leg each, that meet in the bar of a third.
const PLAN: [&str; 10] = [
    "#############",
    "#.....#.....#",
    "###.#####.###",
    "###.#####.###",
    "###.#####.###",
    "###.......###",
    "######.######",
    "######.######",
    "######.######",
    "#############",
];

/// A step to a neighboring place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Move {
    /// One column down.
    Left,
    /// One column up.
    Right,
    /// One row down.
    Up,
    /// One row up.
    Down,
}

/// What the policy is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// The goal, its own place and the walls beside it.
    Full,
    /// The walls beside it.
    Walls,
}

/// A game in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maze {
    sight: Sight,
    place: Place,
    moves: usize,
}

impl Move {
    /// Every move.
    pub const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Up, Self::Down];

    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Self::Left => "move left\n",
            Self::Right => "move right\n",
            Self::Up => "move up\n",
            Self::Down => "move down\n",
        }
    }

    /// Where it leads from an open place, all of which have walls around the maze beyond them.
    fn from(self, (row, column): Place) -> Place {
        match self {
            Self::Left => (row, column - 1),
            Self::Right => (row, column + 1),
            Self::Up => (row - 1, column),
            Self::Down => (row + 1, column),
        }
    }

    /// Where one ends up: in a wall's way, where one was.
    pub fn apply(self, place: Place) -> Place {
        let next = self.from(place);
        if open(next) { next } else { place }
    }
}

fn open((row, column): Place) -> bool {
    PLAN[row].as_bytes()[column] == b'.'
}

/// The 25 places that a game starts from: all that are open but the goal.
pub fn starts() -> Vec<Place> {
    let all = (0..PLAN.len()).flat_map(|row| (0..PLAN[row].len()).map(move |column| (row, column)));
    all.filter(|place| open(*place) && *place != GOAL).collect()
}

/// Moves to the goal by the shortest way; none from within a wall.
pub fn distance(from: Place) -> Option<usize> {
    let mut seen = vec![GOAL];
    let mut queue = VecDeque::from([(GOAL, 0)]);
    while let Some((place, moves)) = queue.pop_front() {
        if place == from {
            return Some(moves);
        }
        for next in Move::ALL.map(|one| one.apply(place)) {
            if !seen.contains(&next) {
                seen.push(next);
                queue.push_back((next, moves + 1));
            }
        }
    }
    None
}

/// The first move of the shortest way; none at the goal and within a wall.
pub fn best_move(from: Place) -> Option<Move> {
    let here = distance(from)?;
    Move::ALL.into_iter().find(|one| distance(one.apply(from)).is_some_and(|there| there < here))
}

impl Maze {
    /// A new game.
    ///
    /// # Panics
    /// If `start` is none of [`starts`].
    pub fn new(start: Place, sight: Sight) -> Self {
        assert!(open(start) && start != GOAL, "a game starts in the open and not at the goal");
        Self { sight, place: start, moves: 0 }
    }

    /// Where the policy stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// What the policy is told of where it stands.
    pub fn observe(&self) -> String {
        let walls = walls(self.place);
        match self.sight {
            Sight::Walls => walls + "\n",
            Sight::Full => {
                let digits = |number: usize| {
                    let digits = number.to_string();
                    digits.chars().map(String::from).collect::<Vec<_>>().join(" ")
                };
                let say = |(row, column)| format!("position {}, {}.", digits(row), digits(column));
                format!(
                    "The goal is at {} Your current position is at {} {walls}\n",
                    say(GOAL),
                    say(self.place)
                )
            }
        }
    }

    /// Answers a move.
    ///
    /// # Panics
    /// If the game is over.
    pub fn act(&mut self, text: &str) -> Turn {
        assert!(self.moves < MOVES && self.place != GOAL, "the game is over");
        self.moves += 1;
        let chosen = Move::ALL.into_iter().find(|one| one.text() == text);
        if let Some(chosen) = chosen {
            self.place = chosen.apply(self.place);
        }
        if self.place == GOAL {
            return Turn { said: "Success\n".to_owned(), reward: 0.0, done: true };
        }
        let reward = if chosen.is_some() { -1.0 } else { -4.0 };
        Turn { said: self.observe(), reward, done: self.moves == MOVES }
    }
}

/// The walls beside a place, in words.
fn walls(place: Place) -> String {
    let sides = [
        (Move::Right, "to your right"),
        (Move::Left, "to your left"),
        (Move::Up, "above you"),
        (Move::Down, "below you"),
    ];
    let walls = sides.into_iter().filter(|(side, _)| side.apply(place) == place);
    let walls: Vec<&str> = walls.map(|(_, words)| words).collect();
    match walls.as_slice() {
        [] => "There are no walls near you.".to_owned(),
        [one] => format!("There is a wall {one}."),
        several => format!("There are walls {}.", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maze_has_25_starts_and_the_paper_s_optimum() {
        let starts = starts();
        assert_eq!(starts.len(), 25);
        let moves: usize = starts.iter().map(|start| distance(*start).unwrap() - 1).sum();
        // Abdulhai et al. 2023 print -6.84.
        assert_eq!(moves as f64 / 25.0, 6.84);
    }

    #[test]
    fn the_shortest_way_is_as_long_as_its_distance() {
        for start in starts() {
            let mut maze = Maze::new(start, Sight::Full);
            let mut rewards = Vec::new();
            loop {
                let turn = maze.act(best_move(maze.place()).unwrap().text());
                rewards.push(turn.reward);
                if turn.done {
                    break;
                }
            }
            assert_eq!(rewards.len(), distance(start).unwrap());
            assert_eq!(rewards.iter().sum::<f64>(), 1.0 - rewards.len() as f64);
        }
        assert_eq!(best_move(GOAL), None);
        assert_eq!(distance((0, 0)), None);
    }

    #[test]
    fn a_wall_stops_a_move_and_another_text_costs_four() {
        let mut maze = Maze::new((1, 1), Sight::Walls);
        let turn = maze.act("move up\n");
        assert_eq!((turn.reward, maze.place()), (-1.0, (1, 1)));
        let turn = maze.act("move  up");
        assert_eq!((turn.reward, maze.place()), (-4.0, (1, 1)));
        assert_eq!(turn.said, "There are walls to your left, above you, below you.\n");
    }

    #[test]
    fn a_hundred_moves_end_the_game() {
        let mut maze = Maze::new((1, 1), Sight::Full);
        let done: Vec<bool> = (0..MOVES).map(|_| maze.act("move up\n").done).collect();
        assert!(done[MOVES - 1] && !done[..MOVES - 1].contains(&true));
    }

    #[test]
    fn what_is_seen_is_told_as_in_the_paper() {
        let full = Maze::new((1, 10), Sight::Full).observe();
        assert_eq!(
            full,
            "The goal is at position 8, 6. Your current position is at position 1, 1 0. \
             There are walls above you, below you.\n"
        );
        let crossing = Maze::new((5, 6), Sight::Walls).observe();
        assert_eq!(crossing, "There is a wall above you.\n");
    }
}
